import java.io.IOException;
import org.apache.drill.common.config.DrillConfig;
import org.apache.drill.exec.server.Drillbit;
import org.apache.drill.exec.server.RemoteServiceSet;

/** Runs one Drillbit without ZooKeeper until its standard input closes, which also happens when its parent dies. */
public final class EmbeddedDrillbit {
  public static void main(String[] arguments) {
    new Thread(EmbeddedDrillbit::exitAtEndOfInput).start();
    try {
      Drillbit drillbit = Drillbit.start(DrillConfig.create(), RemoteServiceSet.getLocalServiceSet());
      System.out.println("ready " + drillbit.getContext().getEndpoint().getUserPort());
    } catch (Throwable failure) {
      // Threads that Drill has started would keep the process alive without a Drillbit.
      failure.printStackTrace();
      System.exit(1);
    }
  }

  private static void exitAtEndOfInput() {
    try {
      while (System.in.read() >= 0) {}
    } catch (IOException unreadable) {
      unreadable.printStackTrace();
    }
    // A Drillbit that has started closes in the shutdown hook that it sets.
    System.exit(0);
  }
}
