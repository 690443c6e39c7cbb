import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, loadavg, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { loadCore, pinMyself, threadsOf } from './cores.ts'
import { fileSystemOf, timeCommits } from './disk.ts'
import { median, percentile, shown, tableOf } from './figures.ts'
import { type Answers, prepareAnswers } from './load/answers.ts'
import { type Answered, keepInFlight } from './load/load.ts'
import { loadOf } from './rounds.ts'
import { direct } from './subjects/bare.ts'
import { headgate } from './subjects/headgate.ts'
import { missingServers, startNodes } from './subjects/nodes.ts'
import { freePort, startProgram } from './subjects/program.ts'
import type { Ground, Running, Subject } from './subjects/subject.ts'

/**
 * One, two and three gateways on PostgreSQL and Redis, beside the embedded one and beside the upstream without any, everybody in turn.
 * README.md beside this file says how to read what it prints.
 */
const inFlight = 48
const loadedMs = 2_000
const aloneMs = 1_500
const warmUpMs = 3_000
const commitsPerRound = 100

/** One installation: where calls go, and whose CPU time they cost. */
interface Site extends AsyncDisposable {
  readonly name: string
  readonly gates: readonly Running[]
  readonly postgresPids: () => readonly number[]
  readonly redisPids: readonly number[]
  readonly audit?: (calls: number) => Promise<string>
}

/** CPU time in microseconds, of everybody who serves. */
interface Spent {
  readonly gateways: number
  readonly postgres: number
  readonly redis: number
}

/** Of one run. Microseconds are per call. */
interface Figures extends Spent {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

interface Contender {
  readonly site: Site
  calls: number
  readonly loaded: Figures[]
  readonly alone: Figures[]
}

const head = [
  ...['', 'calls/s', 'least to most', 'p50 ms', 'p99 ms', 'gateway µs', 'PostgreSQL µs', 'Redis µs'],
  ...['alone: added p50 ms', 'added p99 ms', 'gateway µs'],
]

const options = { rounds: { type: 'string', default: '5' }, folder: { type: 'string', default: tmpdir() } } as const

try {
  const { rounds, folder } = parseArgs({ options }).values
  if (!/^[1-9]\d*$/.test(rounds)) throw new Error(`--rounds is ${rounds}; it takes a whole number from 1`)
  if (missingServers !== undefined) throw new Error(`there can be no nodes here: ${missingServers}`)
  await run(Number(rounds), folder)
} catch (error) {
  console.error(`bench:cluster: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}

async function run(rounds: number, parent: string): Promise<void> {
  pinMyself()
  // One for each program that is taken along when this one ends.
  process.setMaxListeners(20)
  const folder = mkdtempSync(join(parent, 'headgate-bench-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130))
  await using scope = new AsyncDisposableStack()
  const upstreamPort = await freePort()
  const words = [process.execPath, join(import.meta.dirname, 'upstream.ts'), String(upstreamPort)]
  scope.use(await startProgram({ core: loadCore, words, log: join(folder, 'upstream.log') }, upstreamPort))
  const answers = await prepareAnswers()
  const contenders = await startAll({ upstreamPort, folder, profiled: false, fromSource: false }, scope)
  for (const one of contenders) await load(one, answers, { lanes: inFlight, ms: warmUpMs })
  const commitsMs: number[] = []
  const loads: number[] = []
  for (let round = 1; round <= rounds; round += 1) {
    say(`round ${round} of ${rounds}`)
    loads.push(loadavg()[0]!)
    commitsMs.push(...timeCommits(folder, commitsPerRound))
    for (const one of contenders) one.loaded.push(await load(one, answers, { lanes: inFlight, ms: loadedMs }))
    for (const one of contenders) one.alone.push(await load(one, answers, { lanes: 1, ms: aloneMs }))
  }
  console.log(`${cpus().length} cores of ${cpus()[0]?.model}, Linux ${release()}, Node ${process.version}, ${fileSystemOf(parent)}`)
  console.log(
    `load average ${shown(Math.min(...loads))} to ${shown(Math.max(...loads))} as the rounds began; ${rounds} rounds, everybody in turn`,
  )
  console.log(`one synced commit alone: p50 ${shown(percentile(commitsMs, 50))} ms, p99 ${shown(percentile(commitsMs, 99))} ms\n`)
  console.log(
    tableOf(
      head,
      contenders.map(one => lineOf(one, contenders[0]!)),
    ),
  )
  for (const { site, calls } of contenders) {
    const found = await site.audit?.(calls)
    if (found !== undefined)
      console.log(`${site.name}: ${calls.toLocaleString('en')} calls, each on the books once with its charge; they balance; ${found}`)
  }
}

async function startAll(ground: Ground, scope: AsyncDisposableStack): Promise<Contender[]> {
  const contenders: Contender[] = []
  const add = (site: Site) => contenders.push({ site: scope.use(site), calls: 0, loaded: [], alone: [] })
  for (const subject of [direct, headgate]) {
    say(`starting ${subject.name}`)
    add(await single(subject, ground))
  }
  for (const count of [1, 2, 3]) {
    say(`starting ${count} of many`)
    const nodes = await startNodes(ground, count)
    add({ ...nodes, name: count === 1 ? '1 node' : `${count} nodes`, gates: nodes.each })
  }
  return contenders
}

async function single(subject: Subject, ground: Ground): Promise<Site> {
  const running = await subject.start(ground)
  const { audit } = running
  return {
    name: subject.name,
    gates: [running],
    postgresPids: () => [],
    redisPids: [],
    ...(audit && { audit }),
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  }
}

/** So many calls at a time, spread over the gates; one at a time goes to the first. */
async function load(one: Contender, answers: Answers, { lanes, ms }: { readonly lanes: number; readonly ms: number }): Promise<Figures> {
  const { site } = one
  const gates = site.gates.slice(0, lanes)
  const before = spentBy(site)
  const all = await Promise.all(gates.map(gate => keepInFlight(loadOf({ stream: false }, gate, answers), lanes / gates.length, ms)))
  const after = spentBy(site)
  const sum = (of: (answered: Answered) => number) => all.reduce((total, answered) => total + of(answered), 0)
  const calls = sum(answered => answered.calls)
  one.calls += calls
  const tookMs = all.flatMap(answered => answered.tookMs)
  return {
    perSecond: sum(answered => answered.calls / answered.seconds),
    ...{ p50Ms: percentile(tookMs, 50), p99Ms: percentile(tookMs, 99) },
    gateways: (after.gateways - before.gateways) / calls,
    postgres: (after.postgres - before.postgres) / calls,
    redis: (after.redis - before.redis) / calls,
  }
}

function spentBy({ gates, postgresPids, redisPids }: Site): Spent {
  const of = (pids: readonly number[]) => (pids.length === 0 ? Number.NaN : threadsOf(pids).reduce((all, { micros }) => all + micros, 0))
  return { gateways: of(gates.flatMap(gate => gate.pids())), postgres: of(postgresPids()), redis: of(redisPids) }
}

function lineOf({ site, loaded, alone }: Contender, bare: Contender): string[] {
  const of = (runs: readonly Figures[], name: keyof Figures) => median(runs.map(figures => figures[name]))
  const speeds = loaded.map(({ perSecond }) => perSecond)
  const added = (name: 'p50Ms' | 'p99Ms') => (site === bare.site ? Number.NaN : of(alone, name) - of(bare.alone, name))
  return [
    ...[site.name, shown(of(loaded, 'perSecond')), `${shown(Math.min(...speeds))} to ${shown(Math.max(...speeds))}`],
    ...[shown(of(loaded, 'p50Ms')), shown(of(loaded, 'p99Ms'))],
    ...(['gateways', 'postgres', 'redis'] as const).map(name => shown(of(loaded, name))),
    ...[shown(added('p50Ms')), shown(added('p99Ms')), shown(of(alone, 'gateways'))],
  ]
}

function say(line: string): void {
  process.stderr.write(`${new Date().toTimeString().slice(0, 8)}  ${line}\n`)
}
