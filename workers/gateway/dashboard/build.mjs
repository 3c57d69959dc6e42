// Builds dist/ from src/ and static/. With --check: builds in memory and fails where dist/ differs.
import { build } from "esbuild";
import { readFileSync, writeFileSync, mkdirSync } from "node:fs";
import { basename, join } from "node:path";

const check = process.argv.includes("--check");
const result = await build({
  entryPoints: { app: "src/main.ts", docs: "src/docs.ts" },
  outdir: "dist",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "inline",
  write: false,
});
const files = result.outputFiles
  .filter((file) => basename(file.path) !== "docs.css")
  .map((file) => [basename(file.path), Buffer.from(file.contents)]);
for (const name of ["index.html", "docs.html", "icon.svg"]) files.push([name, readFileSync(join("static", name))]);

mkdirSync("dist", { recursive: true });
let differing = 0;
for (const [name, bytes] of files) {
  const path = join("dist", name);
  if (!check) {
    writeFileSync(path, bytes);
    console.log(`${name}: ${bytes.length} bytes`);
    continue;
  }
  let committed = null;
  try {
    committed = readFileSync(path);
  } catch {
    // A missing file differs.
  }
  if (!committed || !committed.equals(bytes)) {
    differing += 1;
    console.error(`dist/${name} is not what the sources make: run \`npm run build\` in workers/gateway/dashboard and commit dist/`);
  }
}
process.exit(differing ? 1 : 0);
