#!/usr/bin/env node
// Plain JavaScript that Node 18 can read too: whoever has an old Node shall get a sentence, or the right Node, not a syntax error.
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { getHeapStatistics, setFlagsFromString } from 'node:v8'

const nodeMajorMin = 24
/**
 * How much V8 may let lie: in MB, what is young is two of these, from the first moment, because it is looked through far more often while it grows;
 * in percent, how much what is old may grow before it is looked through.
 */
const smallerFlags = ['--max-semi-space-size=16', '--min-semi-space-size=16', '--heap-growing-percent=200']
/**
 * Nothing begins among what is old. Where V8 once saw much of a kind live on it makes all of that kind there from then on, and of a call nothing
 * lives on but a line: three of four KB of it were old garbage. A Node that has no such flag says so, and goes on.
 */
const youngFlag = '--no-allocation-site-pretenuring'
const root = join(dirname(fileURLToPath(import.meta.url)), '..')

if (majorOf(process.versions.node) < nodeMajorMin) startWithNewerNode()
else {
  if (isGateway() && isRoomy()) startSmaller()
  if (isGateway()) setFlagsFromString(youngFlag)
  await start()
}

/** The published package has only dist; in the source tree src is what counts, so that a stale build never runs. */
async function start() {
  silenceSqliteWarning()
  const source = join(root, 'src/cli/main.ts')
  const { main } = await import(existsSync(source) ? '../src/cli/main.ts' : '../dist/src/cli/main.js')
  await main({ version: JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version })
}

/** SQLite does what we need and our tests show it; that Node still calls it experimental is nothing an operator can act on. */
function silenceSqliteWarning() {
  const emitWarning = process.emitWarning
  process.emitWarning = (warning, ...rest) => {
    if (rest[0] === 'ExperimentalWarning' && /sqlite/i.test(String(warning))) return
    emitWarning.call(process, warning, ...rest)
  }
}

/** The other commands are over before they have made much garbage. */
function isGateway() {
  return process.argv.slice(2).some(word => word === 'serve' || word === 'demo')
}

/** Up to such a heap, that of a machine with 1 GB, V8 gives the young generation no more than we would. It tells no share, only this limit. */
function isRoomy() {
  return getHeapStatistics().heap_size_limit > 640 * 1024 * 1024
}

/**
 * On a large machine V8 lets what is young take twice 64 MB, and what is old grow up to fourfold, however little of it lives: after streams by
 * the thousand, more than twice of what they need. Both are settled as V8 starts, so the program takes its own place: the same
 * process by the same id, 40 ms later. Who chose a size has chosen, and where there is no `execve` (Windows) it goes on as it is.
 */
function startSmaller() {
  const isChosen = [...process.execArgv, process.env.NODE_OPTIONS ?? ''].some(words => words.includes('--max-semi-space-size'))
  if (isChosen || process.execve === undefined) return
  process.execve(process.execPath, [process.argv0, ...smallerFlags, ...process.execArgv, ...process.argv.slice(1)])
}

function startWithNewerNode() {
  const node = installedNode()
  if (node === undefined) {
    const bringsOne = existsSync(join(root, 'package-lock.json')) ? `, or run "npm ci" in ${root}, which brings one along` : ''
    console.error(
      `Headgate needs Node ${nodeMajorMin} or newer and this is ${process.versions.node}; install it from https://nodejs.org${bringsOne}.`,
    )
    process.exitCode = 2
    return
  }
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' })
  // A terminal's Ctrl-C reaches the child by itself; told twice, it would take that for impatience.
  const hasTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY
  process.on('SIGINT', () => hasTerminal || child.kill('SIGINT'))
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  child.on('error', error => {
    console.error(`Node ${nodeMajorMin} at ${node} cannot be started: ${error.message}.`)
    process.exitCode = 2
  })
  child.on('exit', (code, signal) => {
    process.exitCode = code === null ? 128 + constants.signals[signal] : code
  })
}

/** The program of the npm package "node", when it is installed beside us and new enough. */
function installedNode() {
  try {
    const description = createRequire(import.meta.url).resolve('node/package.json')
    const program = join(dirname(description), 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
    const isNewEnough = majorOf(JSON.parse(readFileSync(description, 'utf8')).version) >= nodeMajorMin
    return isNewEnough && existsSync(program) ? program : undefined
  } catch {
    // Not installed is an answer, told by the caller.
    return undefined
  }
}

function majorOf(version) {
  return Number(version.split('.')[0])
}
