import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, loadavg, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { loadCore, pinMyself } from './cores.ts'
import { fileSystemOf } from './disk.ts'
import { median, shown, tableOf } from './figures.ts'
import { type Answers, prepareAnswers } from './load/answers.ts'
import { keepInFlight, type Load } from './load/load.ts'
import type { Heard } from './load/reader.ts'
import { requestOf } from './load/request.ts'
import { profileTables } from './profile.ts'
import { type Figures, measure, type Scenario, scenarios } from './scenarios.ts'
import { direct, relay } from './subjects/bare.ts'
import { headgate } from './subjects/headgate.ts'
import { freePort, startProgram } from './subjects/program.ts'
import type { Running, Subject } from './subjects/subject.ts'

const subjects: readonly Subject[] = [direct, relay, headgate]

interface Plan {
  readonly subjects: readonly Subject[]
  readonly scenarios: readonly Scenario[]
  readonly rounds: number
  readonly folder: string
  readonly profiled: boolean
}

async function run(plan: Plan): Promise<void> {
  pinMyself()
  const fileSystem = fileSystemOf(plan.folder)
  const folder = mkdtempSync(join(plan.folder, 'headgate-bench-'))
  console.log(
    `${cpus().length} cores of ${cpus()[0]?.model}, Linux ${release()}, Node ${process.version}, ${fileSystem}, load ${loadavg()[0]!.toFixed(1)}`,
  )
  try {
    await runIn(folder, plan)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function runIn(folder: string, { subjects, scenarios, rounds, profiled }: Plan): Promise<void> {
  await using scope = new AsyncDisposableStack()
  const answers = await prepareAnswers()
  const upstreamPort = await freePort()
  const words = [process.execPath, join(import.meta.dirname, 'upstream.ts'), String(upstreamPort)]
  const upstream = scope.use(await startProgram({ core: loadCore, words, log: join(folder, 'upstream.log') }, upstreamPort))
  const running: { subject: Subject; at: Running; calls: number }[] = []
  for (const subject of subjects)
    running.push({ subject, at: scope.use(await subject.start({ upstreamPort, folder, profiled })), calls: 0 })
  for (const one of running) one.calls += await warmUp(loadOf(json, one.at, answers))
  const results = new Map<string, Figures[]>()
  for (let round = 0; round < rounds; round += 1) {
    for (const scenario of scenarios) {
      for (const one of running) {
        const load = loadOf(scenario, one.at, answers)
        const measured = await measure(scenario, { load, gatewayPids: one.at.pids(), loadPids: [process.pid, upstream.pid] })
        one.calls += measured.calls
        const name = `${scenario.name} ${one.subject.name}`
        results.set(name, [...(results.get(name) ?? []), measured.figures])
      }
    }
    process.stderr.write(`round ${round + 1} of ${rounds}\n`)
  }
  const profiles = join(folder, 'profiles')
  for (const { subject, at, calls } of running) {
    const engine = await at.audit?.(calls)
    if (engine !== undefined)
      console.log(`${subject.name}: ${calls} calls, each on the books once with its charge, and they balance; ${engine}`)
  }
  await scope.disposeAsync()
  for (const table of profileTables(profiles)) console.log(`\n${table}`)
  for (const scenario of scenarios) {
    console.log(`\n${scenario.about}`)
    console.log(
      tableOf(
        head,
        subjects.map(({ name }) => lineOf(name, results.get(`${scenario.name} ${name}`)!)),
      ),
    )
  }
}

const json = scenarios[0]!

/** Until the compiler has seen every path often enough: a gateway runs for months. */
async function warmUp(load: Load): Promise<number> {
  const { calls } = await keepInFlight(load, 50, warmUpMs)
  return calls
}

const warmUpMs = 4_000

const head = ['', 'per s', 'CPU µs', 'least to most', 'p50 ms', 'p99 ms', 'first p50', 'first p99', 'silence ms', 'MiB', 'load busy']

function lineOf(name: string, runs: readonly Figures[]): string[] {
  const all = (figure: keyof Figures) => runs.map(figures => figures[figure])
  const one = (figure: keyof Figures) => shown(median(all(figure)))
  return [
    ...[name, one('perSecond'), one('cpuMicros'), `${shown(Math.min(...all('cpuMicros')))} to ${shown(Math.max(...all('cpuMicros')))}`],
    ...[one('p50Ms'), one('p99Ms'), one('firstEventP50Ms'), one('firstEventP99Ms'), one('longestSilenceMs'), one('memoryMiB')],
    `${Math.round(median(all('loadBusy')) * 100)} %`,
  ]
}

function loadOf({ ask }: Scenario, { port, callers, rewrites = false }: Running, answers: Answers): Load {
  const expected = ask.stream ? answers.stream : answers.json
  const events = ask.stream ? expected.ends.length : 0
  const wrong = ({ status, bytes, events: came, tail }: Heard) => {
    if (status !== 200) return 'refused'
    if (!rewrites && bytes !== expected.bodyBytes) return `not the ${expected.bodyBytes} bytes of the upstream`
    if (ask.stream && came !== events) return `not the ${events} events of the upstream`
    return tail.includes('"total_tokens"') ? undefined : 'no usage'
  }
  return { port, requests: callers.map(caller => requestOf(ask, caller)), wrong }
}

const { values: said } = parseArgs({
  options: {
    only: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    folder: { type: 'string', default: tmpdir() },
    profile: { type: 'boolean', default: false },
  },
})

function chosen<One extends { readonly name: string }>(from: readonly One[], names: readonly string[]): readonly One[] {
  const found = from.filter(({ name }) => names.some(said => name === said || name.replace(/\d+$/, '') === said))
  return found.length === 0 ? from : found
}

try {
  const names = said.only?.split(',') ?? []
  await run({
    subjects: chosen(subjects, names),
    scenarios: chosen(scenarios, names),
    rounds: Number(said.rounds),
    folder: said.folder,
    profiled: said.profile,
  })
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.stack : String(error)}`)
  process.exitCode = 1
}
