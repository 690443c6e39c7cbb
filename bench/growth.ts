import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { cpus, loadavg, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { parseArgs } from 'node:util'
import { gatewayCore, loadCore, memoryMiB, pinMyself } from './cores.ts'
import { fileSystemOf } from './disk.ts'
import { median, shown, tableOf } from './figures.ts'
import { type Answers, prepareAnswers } from './load/answers.ts'
import { keepInFlight } from './load/load.ts'
import { type Figures, measure } from './measure.ts'
import { loadOf } from './rounds.ts'
import type { Scenario } from './scenarios.ts'
import { openSeeded, secretsOf, seed } from './seeding.ts'
import { freePort, type Program, startProgram } from './subjects/program.ts'

/**
 * What a call costs as data grows: a gateway with hardly any data and one on books that `bench:seed` made, side by side and in turns,
 * each with the same core for itself when it is its turn.
 */
const options = {
  folder: { type: 'string' },
  rounds: { type: 'string', default: '7' },
  active: { type: 'string', default: '16' },
  checked: { type: 'boolean', default: false },
} as const

const warmUpMs = 6_000
const inFlight = 50
/** Beside those who call. */
const few = { rows: 1_000, accounts: 4 }
const ask = { stream: false }
const scenario: Scenario = {
  name: 'json50',
  about: `JSON calls, ${inFlight} in flight`,
  unit: 'call',
  ask,
  run: load => keepInFlight(load, inFlight, 1_000),
}

interface Side extends AsyncDisposable {
  readonly name: string
  readonly folder: string
  readonly program: Program
  readonly port: number
  readonly callers: readonly { readonly key: string }[]
  /** From its start until it took calls. */
  readonly startedMs: number
  readonly startMiB: number
}

try {
  await run(parseArgs({ options }).values)
} catch (error) {
  console.error(`bench:growth: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}

async function run({
  folder,
  rounds,
  active,
  checked,
}: ReturnType<typeof parseArgs<{ options: typeof options }>>['values']): Promise<void> {
  if (folder === undefined || !existsSync(join(folder, 'headgate.db')))
    throw new Error('it takes --folder, a data folder that bench:seed has made: npm run bench:seed -- --folder X')
  if (!/^[1-9]\d?$/.test(rounds)) throw new Error(`--rounds is ${rounds}; it takes a whole number from 1 to 99`)
  if (!/^[1-9]\d{0,2}$/.test(active)) throw new Error(`--active is ${active}; it takes a whole number from 1 to 999`)
  pinMyself()
  const machine = `${cpus().length} cores of ${cpus()[0]?.model}, Linux ${release()}, Node ${process.version}, ${fileSystemOf(folder)}`
  const scratch = mkdtempSync(join(tmpdir(), 'headgate-bench-'))
  try {
    await compare(folder, scratch, { rounds: Number(rounds), active: Number(active), machine })
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
  if (!checked) return
  const books = await openSeeded(folder)
  const differences = await books.check()
  await books.close()
  if (differences.length > 0) throw new Error(`the books do not balance: ${differences[0]!.says}`)
  console.log('every sum of the grown books was reckoned anew, and is right')
}

async function compare(
  folder: string,
  scratch: string,
  { rounds, active, machine }: { rounds: number; active: number; machine: string },
): Promise<void> {
  await using scope = new AsyncDisposableStack()
  const answers = await prepareAnswers()
  const upstreamPort = await freePort()
  const words = [process.execPath, join(import.meta.dirname, 'upstream.ts'), String(upstreamPort)]
  const upstream = scope.use(await startProgram({ core: loadCore, words, log: join(scratch, 'upstream.log') }, upstreamPort))
  await seed(join(scratch, 'empty'), { ...few, users: active, keys: active }, () => {})
  const sides: Side[] = []
  for (const [name, at] of [['empty', join(scratch, 'empty')] as const, ['grown', folder] as const])
    sides.push(scope.use(await start(name, at, { upstreamPort, active })))
  const figures = new Map(sides.map(({ name }) => [name, [] as Figures[]]))
  for (const side of sides) await keepInFlight(loadOf(ask, runningOf(side), answers), inFlight, warmUpMs)
  const loads: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    loads.push(loadavg()[0]!)
    for (const side of sides) figures.get(side.name)!.push(await measureOne(side, upstream.pid, answers))
  }
  console.log(`${machine}; load average ${shown(Math.min(...loads))} to ${shown(Math.max(...loads))}`)
  console.log(`medians of ${rounds} rounds of a second, in turns, ${active} people calling; CPU of the whole gateway, per call\n`)
  console.log(report(sides, figures))
}

async function start(name: string, folder: string, { upstreamPort, active }: { upstreamPort: number; active: number }): Promise<Side> {
  pointAt(folder, upstreamPort)
  const port = await freePort()
  const env = { HEADGATE_LISTEN: `127.0.0.1:${port}`, HEADGATE_DATA: folder, HEADGATE_STOP_NOTICE_MS: '0' }
  const words = [process.execPath, join(import.meta.dirname, '../bin/headgate.mjs'), 'serve']
  const beganMs = performance.now()
  const program = await startProgram({ core: gatewayCore, words, env, log: join(folder, 'serve.log') }, port)
  const startedMs = performance.now() - beganMs
  const callers = secretsOf(folder)
    .slice(0, active)
    .map(key => ({ key }))
  const startMiB = memoryMiB([program.pid])
  return { name, folder, program, port, callers, startedMs, startMiB, [Symbol.asyncDispose]: () => program.stop() }
}

/** The accounts were seeded without an upstream that answers. */
function pointAt(folder: string, upstreamPort: number): void {
  const books = new DatabaseSync(join(folder, 'headgate.db'))
  books.prepare('update accounts set base_url = ?, allow_private_address = 1').run(`http://127.0.0.1:${upstreamPort}/v1`)
  books.close()
}

function runningOf({ program, port, callers }: Side): Parameters<typeof loadOf>[1] {
  return { port, callers, pids: () => [program.pid], [Symbol.asyncDispose]: async () => {} }
}

async function measureOne(side: Side, upstreamPid: number, answers: Answers): Promise<Figures> {
  const load = loadOf(ask, runningOf(side), answers)
  const pids = { gatewayPids: [side.program.pid], loadPids: [process.pid, upstreamPid] }
  return (await measure(scenario, { load, perSecond: Number.NaN, ...pids })).figures
}

function report(sides: readonly Side[], figures: ReadonlyMap<string, readonly Figures[]>): string {
  const of = (name: string, figure: (one: Figures) => number) => median(figures.get(name)!.map(figure))
  const lines: readonly (readonly [string, (one: Figures) => number])[] = [
    ['CPU µs a call', one => one.cpuMicros],
    ['of it the main thread', one => one.mainMicros],
    ['of it SQLite and others', one => one.cpuMicros - one.mainMicros],
    ['calls a second', one => one.perSecond],
    ['p50 ms', one => one.p50Ms],
    ['p99 ms', one => one.p99Ms],
    ['memory MiB', one => one.memoryMiB],
  ]
  const [empty, grown] = sides as [Side, Side]
  const pair = (name: string, before: number, after: number) => [name, shown(before), shown(after), `${(after / before).toFixed(2)} ×`]
  return tableOf(
    ['', empty.name, grown.name, 'grown / empty'],
    [
      ...lines.map(([name, figure]) => pair(name, of(empty.name, figure), of(grown.name, figure))),
      pair('ms to start', empty.startedMs, grown.startedMs),
      pair('MiB when started', empty.startMiB, grown.startMiB),
    ],
  )
}
