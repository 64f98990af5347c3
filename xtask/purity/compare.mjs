// Feeds the module the entries that the native build has applied: every digest must be the same.
//
// node compare.mjs <module.wasm> <entries.txt>; a line of entries.txt is `<entry in hex> <digest after it in hex>`.
import { readFileSync } from "node:fs";

const [modulePath, entriesPath] = process.argv.slice(2);
// No imports are handed over: a module that needs any fails here.
const { instance } = await WebAssembly.instantiate(readFileSync(modulePath), {});
const lines = readFileSync(entriesPath, "utf8").trim().split("\n");
for (const [at, line] of lines.entries()) {
  const [entry, native] = line.split(" ");
  for (const byte of Buffer.from(entry, "hex")) instance.exports.push(byte);
  const digest = BigInt.asUintN(64, instance.exports.apply()).toString(16).padStart(16, "0");
  if (digest !== native) {
    console.log(`entry ${at + 1}: digest ${digest} here, ${native} in the native build`);
    process.exit(1);
  }
}
console.log(`    ${lines.length} entries, every digest the same in WebAssembly and natively`);
