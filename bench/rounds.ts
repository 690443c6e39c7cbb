import { loadavg } from 'node:os'
import { join } from 'node:path'
import { loadCore } from './cores.ts'
import { timeCommits } from './disk.ts'
import { median } from './figures.ts'
import { type Answers, prepareAnswers } from './load/answers.ts'
import { keepInFlight, type Load } from './load/load.ts'
import type { Heard } from './load/reader.ts'
import { type Ask, requestOf } from './load/request.ts'
import { type Figures, measure } from './measure.ts'
import { startProfiling, type ThreadProfile } from './profile.ts'
import type { Scenario } from './scenarios.ts'
import { freePort, startProgram } from './subjects/program.ts'
import type { Running, Subject } from './subjects/subject.ts'

export interface Plan {
  readonly subjects: readonly Subject[]
  readonly scenarios: readonly Scenario[]
  readonly rounds: number
  /** How long each is made ready with JSON calls, and then as long with streams. */
  readonly warmUpMs: number
  /** Of its own, on a disk. */
  readonly folder: string
  readonly profiled: boolean
  /** Told what is being done. */
  readonly progress: (line: string) => void
}

/** All that was measured, of all rounds. */
export interface Results {
  /** By scenario, then by subject: one line for each round. */
  readonly runs: ReadonlyMap<string, ReadonlyMap<string, readonly Figures[]>>
  /** One synced commit alone, between the rounds. */
  readonly commitsMs: readonly number[]
  /** The machine's load average, as each round began. */
  readonly loads: readonly number[]
  /** What the books of each subject that keeps them were found to be. */
  readonly audits: readonly string[]
  /** Who answered wrong, or whose books do not hold what it answered, and how: there are no figures of them. */
  readonly struckOut: readonly string[]
  readonly profiles: readonly { readonly subject: string; readonly calls: number; readonly threads: readonly ThreadProfile[] }[]
}

/** A subject that has been started. */
interface Contender {
  readonly subject: Subject
  readonly at: Running
  calls: number
  /** Why it is out of the race. */
  struckOut?: string
}

const warmUpInFlight = 50
const commitsPerRound = 100
const probe: Ask = { stream: false }

/** Whoever gives a wrong answer, or has books that do not hold what it answered, is struck out; the others go on. */
export async function runRounds(plan: Plan): Promise<Results> {
  await using scope = new AsyncDisposableStack()
  const { folder, profiled, progress } = plan
  const answers = await prepareAnswers()
  const upstreamPort = await freePort()
  const words = [process.execPath, join(import.meta.dirname, 'upstream.ts'), String(upstreamPort)]
  const upstream = scope.use(await startProgram({ core: loadCore, words, log: join(folder, 'upstream.log') }, upstreamPort))
  const contenders: Contender[] = []
  for (const subject of plan.subjects) {
    progress(`starting and warming up ${subject.name}`)
    const at = scope.use(await subject.start({ upstreamPort, folder, profiled, fromSource: profiled }))
    contenders.push({ subject, at, calls: await warmUp(subject, at, answers, plan.warmUpMs) })
  }
  const profiling = await profile(contenders)
  const measured = await takeTurns(plan, { contenders, answers, loadPids: [process.pid, upstream.pid] })
  const profiles = await Promise.all(profiling.map(end => end()))
  const audits: string[] = []
  for (const one of contenders) audits.push(...(await audit(one)))
  const out = contenders.filter(({ struckOut }) => struckOut !== undefined)
  for (const bySubject of measured.runs.values()) for (const { subject } of out) bySubject.delete(subject.name)
  return { ...measured, audits, profiles, struckOut: out.map(({ subject, struckOut }) => `${subject.name}: ${struckOut}`) }
}

/** What was found, of those who keep books and still run. */
async function audit(one: Contender): Promise<string[]> {
  const { subject, at, calls } = one
  if (one.struckOut !== undefined || at.audit === undefined) return []
  try {
    const found = await at.audit(calls)
    return [`${subject.name}: ${calls.toLocaleString('en')} calls, each on the books once with its charge; they balance; ${found}`]
  } catch (error) {
    one.struckOut = `its books: ${messageOf(error)}`
    return []
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Until the compiler has met every path often enough: a gateway runs for months. Returns how many calls that took. */
async function warmUp({ noStreams }: Subject, at: Running, answers: Answers, ms: number): Promise<number> {
  const { calls } = await keepInFlight(loadOf(probe, at, answers), warmUpInFlight, ms)
  if (noStreams !== undefined) return calls
  const streamed = await keepInFlight(loadOf({ stream: true, gapMs: 2 }, at, answers), warmUpInFlight, ms)
  return calls + streamed.calls
}

interface Field {
  readonly contenders: readonly Contender[]
  readonly answers: Answers
  readonly loadPids: readonly number[]
}

type Turns = Pick<Results, 'commitsMs' | 'loads'> & { readonly runs: Map<string, Map<string, Figures[]>> }

/** Everybody runs a scenario before anybody runs the next, so that what else the machine does meets them alike. */
async function takeTurns({ scenarios, rounds, folder, progress }: Plan, field: Field): Promise<Turns> {
  const runs = new Map(scenarios.map(({ name }) => [name, new Map<string, Figures[]>()]))
  const capacities = new Map<string, number[]>()
  const commitsMs: number[] = []
  const loads: number[] = []
  for (let round = 1; round <= rounds; round += 1) {
    loads.push(loadavg()[0]!)
    commitsMs.push(...timeCommits(folder, commitsPerRound))
    for (const scenario of scenarios) {
      progress(`round ${round} of ${rounds}: ${scenario.about}`)
      for (const one of field.contenders) {
        if (one.struckOut !== undefined || !takesPart(one.subject, scenario)) continue
        const figures = await takeTurn(one, scenario, capacities, field)
        if (figures === undefined) {
          progress(`struck out ${one.subject.name}: ${one.struckOut}`)
          continue
        }
        append(runs.get(scenario.name)!, one.subject.name, figures)
        if (scenario.name === 'json50') append(capacities, one.subject.name, figures.perSecond)
      }
    }
  }
  return { runs, commitsMs, loads }
}

/** Undefined when it answered wrong, and is struck out. */
async function takeTurn(one: Contender, scenario: Scenario, capacities: Map<string, number[]>, field: Field): Promise<Figures | undefined> {
  const load = loadOf(scenario.ask, one.at, field.answers)
  try {
    const perSecond = scenario.isHalfLoad ? await halfRate(one, capacities, field) : Number.NaN
    const { figures, calls } = await measure(scenario, { load, perSecond, gatewayPids: one.at.pids(), loadPids: field.loadPids })
    one.calls += calls
    return figures
  } catch (error) {
    one.struckOut = `${scenario.about}: ${messageOf(error)}`
    return undefined
  }
}

export function takesPart({ keepsBooks = false, noStreams }: Subject, { booksOnly = false, ask }: Scenario): boolean {
  return (keepsBooks || !booksOnly) && (noStreams === undefined || !ask.stream)
}

function append<One>(lists: Map<string, One[]>, name: string, one: One): void {
  lists.set(name, [...(lists.get(name) ?? []), one])
}

/**
 * Calls a second: half of what Headgate has served at most, so that everybody is asked the same; of who serves less, half of
 * that. What nobody has measured yet in this run is measured now.
 */
async function halfRate(one: Contender, capacities: Map<string, number[]>, { contenders, answers }: Field): Promise<number> {
  const model = contenders.find(({ subject }) => subject.name === 'headgate') ?? one
  const served: number[] = []
  for (const contender of [one, model]) {
    const { name } = contender.subject
    if (!capacities.has(name)) {
      const { calls, seconds } = await keepInFlight(loadOf(probe, contender.at, answers), warmUpInFlight, probeMs)
      contender.calls += calls
      append(capacities, name, calls / seconds)
    }
    served.push(median(capacities.get(name)!))
  }
  return Math.min(...served) / 2
}

const probeMs = 1_000

/** Begins to sample whoever is open to it; each function that it returns ends one. */
async function profile(contenders: readonly Contender[]): Promise<(() => Promise<Results['profiles'][number]>)[]> {
  const ends: (() => Promise<Results['profiles'][number]>)[] = []
  for (const one of contenders) {
    if (one.at.inspector === undefined) continue
    const before = one.calls
    const end = await startProfiling(one.at.inspector)
    ends.push(async () => ({ subject: one.subject.name, threads: await end(), calls: one.calls - before }))
  }
  return ends
}

export function loadOf(ask: Ask, { port, callers, rewrites = false }: Running, answers: Answers): Load {
  const expected = ask.stream ? answers.stream : answers.json
  const events = ask.stream ? expected.ends.length : 0
  const wrong = ({ status, bytes, events: came, tail }: Heard) => {
    if (status !== 200) return 'refused'
    if (!rewrites && bytes !== expected.bodyBytes) return `not the ${expected.bodyBytes} bytes of the upstream`
    if (came !== events) return `not the ${events} events of the upstream`
    return tail.includes('"total_tokens"') ? undefined : 'no usage'
  }
  return { port, requests: callers.map(caller => requestOf(ask, caller)), wrong }
}
