//! What stays visible, and what is kept, when publishing fails.

use super::*;
use crate::LakeError;
use std::process::Command;
use std::time::Instant;

/// Rows that make several parts, so that there is something to link and something to write.
fn fill(lake: &mut Lake, rows: i64) {
    for n in 0..rows {
        lake.apply(put(
            "t",
            &format!("{n:06}"),
            record([("n", n.into()), ("text", "x".repeat(1_200).into())]),
        ));
    }
    lake.apply(put("u", "k", record([("v", 1.into())])));
}

/// A change of one row, one that widens, and a new collection.
fn change(lake: &mut Lake) {
    lake.apply(put("t", "000003", record([("n", (-1).into())])));
    lake.apply(put("u", "k", record([("v", "text".into())])));
    lake.apply(put("w", "k", record([("v", true.into())])));
}

/// The visible tables, without their versions.
fn tables(root: &Path) -> BTreeMap<String, Visible> {
    let names = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|name| name.strip_suffix(".view.drill").map(str::to_owned))
        // Views on the same files as another.
        .filter(|name| !name.ends_with("_history") && !name.ends_with("_debezium"))
        .map(|name| {
            let visible = Visible {
                folder: PathBuf::new(),
                ..Visible::read(root, &name)
            };
            (name, visible)
        })
        .collect()
}

/// All views on a feed's files name the same version, which is there.
fn check_feeds(root: &Path) {
    for table in ["t", "u", "w"] {
        let folders = ["changes", "debezium", "history"].map(|view| {
            let path = root.join(format!("{table}_{view}.view.drill"));
            let text = std::fs::read_to_string(path).unwrap();
            let (_, folder) = text.split_once("FROM table(`headwater`.`").unwrap();
            folder.split_once('`').unwrap().0.to_owned()
        });
        assert!(folders.iter().all(|one| *one == folders[0]), "{folders:?}");
        assert!(root.join(&folders[0]).exists());
    }
}

/// The folders and files of the lake by what they are, without their numbers: versions, groups and parts.
fn inventory(root: &Path) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    let mut folders = vec![root.join(".headwater")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let kind = name.trim_matches(|c: char| c.is_ascii_digit()).to_owned();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            *kinds.entry(kind).or_default() += 1;
        }
    }
    kinds
}

/// Kills the process, as far as files can tell, at every operation of a publication in turn.
#[test]
fn a_publication_killed_anywhere_shows_the_state_before_or_after() {
    let mut stages = Vec::new();
    for operations in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let mut lake = open(dir.path());
        fill(&mut lake, 1_000);
        lake.publish().unwrap();
        let before = tables(dir.path());
        change(&mut lake);
        lake.disk().fuse.set(Some(operations));
        let result = lake.publish();
        let at_death = tables(dir.path());
        drop(lake);
        let mut lake = open(dir.path());
        assert_eq!(
            tables(dir.path()),
            at_death,
            "opening changed what is visible"
        );
        fill(&mut lake, 1_000);
        change(&mut lake);
        lake.publish().unwrap();
        lake.sweep();
        check_feeds(dir.path());
        let after = tables(dir.path());
        for (name, visible) in &at_death {
            assert!(
                before.get(name) == Some(visible) || after[name] == *visible,
                "{name} after {operations} operations"
            );
        }
        assert!(before.keys().all(|name| at_death.contains_key(name)));
        let kinds = inventory(dir.path());
        assert_eq!(
            kinds["v"],
            after.len(),
            "leftovers after {operations} operations: {kinds:?}"
        );
        // Each part has its rows, its text, and a link to that in one group.
        assert_eq!(kinds[".json"], 2 * kinds[".rows"], "{kinds:?}");
        stages.push(
            at_death
                .values()
                .filter(|visible| after.values().any(|other| other == *visible))
                .count(),
        );
        if result.is_ok() {
            break;
        }
    }
    // The hook was there at every stage: no table new, then one after the other.
    stages.dedup();
    assert_eq!(stages, (4..=12).collect::<Vec<_>>());
}

#[test]
fn an_error_keeps_the_changes_for_the_next_publication() {
    for operations in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let mut lake = open(dir.path());
        fill(&mut lake, 1_000);
        lake.publish().unwrap();
        change(&mut lake);
        lake.disk().fuse.set(Some(operations));
        let result = lake.publish();
        lake.disk().fuse.set(None);
        lake.publish().unwrap();
        assert!(!lake.is_pending());
        let healed = tables(dir.path());
        assert_eq!(healed["t"].rows.len(), 1_000);
        assert_eq!(healed["t"].cells("n")[3], -1);
        assert_eq!(
            (healed["u"].kind("v"), healed["w"].cells("v")),
            ("VARCHAR", vec![true.into()])
        );
        if result.is_ok() {
            break;
        }
    }
}

#[test]
fn a_replaced_version_stays_for_its_grace() {
    let dir = tempfile::tempdir().unwrap();
    let options = LakeOptions {
        keep_snapshots: Duration::from_secs(3_600),
        ..LakeOptions::default()
    };
    let mut lake = Lake::open(dir.path(), options.clone()).unwrap();
    fill(&mut lake, 100);
    lake.publish().unwrap();
    let old = Visible::read(dir.path(), "t");
    change(&mut lake);
    lake.publish().unwrap();
    assert_ne!(Visible::read(dir.path(), "t").folder, old.folder);
    assert_eq!(
        Visible::rows(&old.folder, false).0,
        old.rows,
        "a running query still finds its files"
    );
    drop(lake);
    let mut lake = Lake::open(dir.path(), options).unwrap();
    assert!(old.folder.exists(), "a restart ends no query");
    lake.sweep();
    assert!(old.folder.exists());
    drop(lake);
    let mut lake = open(dir.path());
    lake.sweep();
    assert!(!old.folder.exists());
}

#[test]
fn a_folder_belongs_to_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let lake = open(dir.path());
    let error = Lake::open(dir.path(), no_grace()).unwrap_err();
    assert!(matches!(error, LakeError::InUse { .. }), "{error}");
    drop(lake);
    open(dir.path());
}

#[test]
fn a_file_in_place_of_the_folder_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lake");
    std::fs::write(&path, "mine").unwrap();
    let error = Lake::open(&path, no_grace()).unwrap_err();
    assert!(matches!(error, LakeError::NotWritable { .. }), "{error:?}");
    assert!(error.to_string().contains("needs a folder"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

#[test]
fn a_damaged_state_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    fill(&mut lake, 1);
    lake.publish().unwrap();
    drop(lake);
    let state = dir.path().join(".headwater/state.redb");
    let good = std::fs::read(&state).unwrap();
    std::fs::write(&state, [b"no database", &good[11..]].concat()).unwrap();
    let error = Lake::open(dir.path(), no_grace()).unwrap_err();
    assert!(
        matches!(&error, LakeError::DamagedState { path, .. } if *path == state),
        "{error}"
    );
    std::fs::write(&state, good).unwrap();
    open(dir.path());
}

#[test]
fn a_text_that_someone_removed_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    fill(&mut lake, 1_000);
    lake.publish().unwrap();
    let parts = Visible::read(dir.path(), "t")
        .folder
        .with_file_name("parts");
    for file in files_in(&parts) {
        if file.extension().unwrap() == "json" {
            std::fs::remove_file(file).unwrap();
        }
    }
    // The parts of the rows that change are rendered anew; the links to the others still lead to their files.
    change(&mut lake);
    let error = lake.publish().unwrap_err();
    assert!(matches!(error, LakeError::DamagedPart { .. }), "{error}");
    let report = lake.check_files().unwrap();
    assert!(!report.findings.is_empty());
    lake.mend_files(&report);
    lake.publish().unwrap();
    assert_eq!(Visible::read(dir.path(), "t").rows.len(), 1_000);
}

#[test]
fn damaged_rows_are_named_and_hold_no_other_collection_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    fill(&mut lake, 1_000);
    lake.publish().unwrap();
    let parts = Visible::read(dir.path(), "t")
        .folder
        .with_file_name("parts");
    for file in files_in(&parts) {
        if file.extension().unwrap() == "rows" {
            std::fs::write(file, "rubbish").unwrap();
        }
    }
    change(&mut lake);
    let error = lake.publish().unwrap_err();
    assert!(matches!(error, LakeError::DamagedPart { .. }), "{error}");
    assert!(error.to_string().contains("lake repair"), "{error}");
    assert_eq!(Visible::read(dir.path(), "t").rows.len(), 1_000);
    assert_eq!(
        Visible::read(dir.path(), "w").cells("v"),
        [Json::Bool(true)]
    );
}

/// Set in the process that publishes until it is killed: the lake's folder.
const VICTIM: &str = "HEADWATER_LAKE_VICTIM";

/// Publishes generation after generation of the same rows, so that a mixture of two would show.
fn publish_for_ever(root: &Path) {
    let mut lake = Lake::open(root, LakeOptions::default()).unwrap();
    let first = generation(root).unwrap_or(0) + 1;
    for generation in first.. {
        for n in 0..600 {
            let fields = [
                ("generation", generation.into()),
                ("text", "x".repeat(500).into()),
            ];
            lake.apply(put("t", &format!("{n:06}"), record(fields)));
        }
        lake.publish().unwrap();
    }
}

/// The generation of all rows that are visible.
fn generation(root: &Path) -> Option<i64> {
    root.join("t.view.drill").exists().then(|| {
        let cells = Visible::read(root, "t").cells("generation");
        assert_eq!(cells.len(), 600);
        assert!(
            cells.iter().all(|cell| *cell == cells[0]),
            "two generations at once"
        );
        cells[0].as_i64().unwrap()
    })
}

#[test]
fn a_process_killed_while_it_publishes_leaves_one_whole_state() {
    if let Some(root) = std::env::var_os(VICTIM) {
        return publish_for_ever(Path::new(&root));
    }
    let dir = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let before = generation(dir.path());
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "tests::faults::a_process_killed_while_it_publishes_leaves_one_whole_state",
            ])
            .env(VICTIM, dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while generation(dir.path()) == before {
            assert!(
                victim.try_wait().unwrap().is_none(),
                "the publisher ended by itself"
            );
            assert!(Instant::now() < deadline, "nothing was published");
        }
        // Another place in its work each time.
        let until = Instant::now() + Duration::from_micros(round * 700);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
        assert!(generation(dir.path()) > before);
    }
    drop(open(dir.path()));
    assert!(generation(dir.path()).is_some());
}

/// A small file system of its own, unmounted when dropped. Tests that need one run where this process may mount.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", size, "tmpfs"])
            .arg(dir.path())
            .status();
        if status.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        eprintln!("skipped: this process may not mount a file system");
        None
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(
            Command::new("mount")
                .args(["-o", &options])
                .arg(self.0.path())
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    let Some(mount) = Mount::new("size=2m") else {
        return;
    };
    let root = mount.0.path().join("lake");
    let mut lake = open(&root);
    fill(&mut lake, 1_000);
    lake.publish().unwrap();
    let before = tables(&root);
    fill(&mut lake, 6_000);
    change(&mut lake);
    for _ in 0..3 {
        let error = lake.publish().unwrap_err();
        assert!(matches!(error, LakeError::Full { .. }), "{error:?}");
        assert!(error.to_string().contains("free some space"), "{error}");
        assert_eq!(
            tables(&root)["t"],
            before["t"],
            "the table changed or cannot be read"
        );
    }
    mount.remount("size=20m");
    lake.publish().unwrap();
    assert_eq!(tables(&root)["t"].rows.len(), 6_000);
}

#[test]
fn a_disk_that_became_read_only_loses_nothing() {
    let Some(mount) = Mount::new("size=8m") else {
        return;
    };
    let root = mount.0.path().join("lake");
    let mut lake = open(&root);
    fill(&mut lake, 100);
    lake.publish().unwrap();
    let before = tables(&root);
    change(&mut lake);
    drop(lake);
    mount.remount("ro");
    let error = Lake::open(&root, no_grace()).unwrap_err();
    assert!(matches!(error, LakeError::NotWritable { .. }), "{error:?}");
    assert_eq!(tables(&root), before);
    mount.remount("rw");
    let mut lake = open(&root);
    fill(&mut lake, 100);
    change(&mut lake);
    lake.publish().unwrap();
    assert_eq!(tables(&root)["t"].cells("n")[3], -1);
}
