import load from "../wasm/headwater.js";

/** Where the wasm comes from: an address, a response, its bytes, or a compiled module. */
export type WasmSource = string | URL | Request | Response | Promise<Response> | BufferSource | WebAssembly.Module;

let loading: Promise<unknown> | undefined;

/**
 * Loads the wasm, once. {@link openPeer} does it by itself; call it earlier to have it ready, or with `source` to say where
 * it comes from. By default that is the `.wasm` file beside this module, which bundlers treat as an asset.
 */
export async function init(source?: WasmSource): Promise<void> {
  loading ??= load(source === undefined ? undefined : { module_or_path: source }).catch((error: unknown) => {
    // What failed for want of a network may work later.
    loading = undefined;
    throw error;
  });
  await loading;
}
