// Builds ../static from the sources here: `npm run build`. `npm run check` builds in memory and
// fails if ../static differs. The same sources and lock file give the same bytes.
import {createHash} from 'node:crypto';
import {mkdirSync, readFileSync, readdirSync, writeFileSync} from 'node:fs';
import {dirname, join, relative} from 'node:path';
import {fileURLToPath} from 'node:url';
import * as esbuild from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, '..', 'static');
const MOST_BYTES = 1.3e6;

const result = await esbuild.build({
  absWorkingDir: here,
  entryPoints: {viewer: 'src/main.js'},
  outdir: target,
  write: false,
  bundle: true,
  minify: true,
  charset: 'utf8',
  format: 'iife',
  globalName: 'sarcastViewer',
  legalComments: 'none',
  metafile: true,
  plugins: [{name: 'own-context', setup: useOwnContext}],
  target: ['chrome109', 'firefox115', 'safari16.4'],
});

const files = Object.fromEntries(
  result.outputFiles.map((file) => [relative(target, file.path), file.text]),
);
files['index.html'] = readFileSync(join(here, 'src', 'index.html'), 'utf8');
files['icon.svg'] = readFileSync(join(here, 'src', 'icon.svg'), 'utf8');
files['LICENSES.txt'] = licences(Object.keys(result.metafile.inputs));
if (files['viewer.js'].includes('</script')) {
  throw new Error('viewer.js contains </script and cannot be written into a page; split the text');
}
const bytes = Object.values(files).reduce((sum, text) => sum + Buffer.byteLength(text), 0);
if (bytes > MOST_BYTES) {
  throw new Error(`the bundle has ${bytes} bytes; at most ${MOST_BYTES} are allowed`);
}

if (process.argv.includes('--check')) {
  const differing = differences();
  if (differing.length > 0) {
    console.error(`${relative(here, target)} differs from its sources: ${differing.join(', ')}`);
    console.error('run `npm ci --ignore-scripts && npm run build` and commit the result');
    process.exit(1);
  }
  console.log(`${relative(here, target)} equals its sources`);
} else {
  mkdirSync(target, {recursive: true});
  for (const [name, text] of Object.entries(files)) writeFileSync(join(target, name), text);
  for (const [name, text] of Object.entries(files)) {
    const digest = createHash('sha256').update(text).digest('hex').slice(0, 12);
    console.log(`${digest}  ${String(Buffer.byteLength(text)).padStart(7)}  ${name}`);
  }
}

/** Modules of OpenLayers get the WebGL context of `src/context.js`, which gets it from theirs. */
function useOwnContext(build) {
  const isOpenLayers = (path) => path.includes(join('node_modules', 'ol'));
  build.onResolve({filter: /\/webgl\.js$/}, ({resolveDir}) =>
    isOpenLayers(resolveDir) ? {path: join(here, 'src', 'context.js')} : undefined,
  );
}

/** Names of files in the target that differ from what was built, are missing, or are not ours. */
function differences() {
  const there = new Map();
  try {
    for (const name of readdirSync(target))
      there.set(name, readFileSync(join(target, name), 'utf8'));
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  const names = new Set([...there.keys(), ...Object.keys(files)]);
  return [...names].filter((name) => there.get(name) !== files[name]).sort();
}

/** Licence texts of the packages that are part of the bundle. */
function licences(inputs) {
  const names = new Set();
  for (const path of inputs) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path);
    if (found) names.add(found[1]);
  }
  const texts = [...names].sort().map((name) => {
    const folder = join(here, 'node_modules', name);
    const {version} = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    if (!file) throw new Error(`${name} has no licence file; look at it before it is bundled`);
    return `${name} ${version}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
  });
  return `viewer.js and viewer.css contain these packages.\n\n${texts.join(`\n${'-'.repeat(80)}\n\n`)}`;
}
