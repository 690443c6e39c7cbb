import { setTimeout as pause } from 'node:timers/promises'
import { randomFrom } from '../test/chance.ts'
import { openStream, send, type Target } from '../test/client.ts'
import { shown } from './figures.ts'

/** What the scripted upstream plays, each in its own way. */
export const models = ['sim', 'long', 'slow', 'broken', 'failing', 'late']

/** One client with its one call. */
interface Caller {
  readonly target: Target
  /** Aborted when it has waited for so long that nobody will answer any more. */
  readonly signal: AbortSignal
  /** What it waits for now. */
  waitsFor: string
}

/** How a client calls. Resolves with how that ended. */
type Kind = (caller: Caller) => Promise<string>

async function whole(caller: Caller, model: string): Promise<string> {
  caller.waitsFor = `the answer of ${model}`
  const { status, ending } = await send(caller.target, { body: { model, input: 'hello' }, signal: caller.signal })
  return ending === 'whole' ? String(status) : ending
}

async function streamed(caller: Caller, model: string, slow = false): Promise<string> {
  caller.waitsFor = `the stream of ${model}`
  await using stream = openStream(caller.target, { body: { model }, signal: caller.signal })
  const { status } = await stream.begun
  caller.waitsFor = `the first event of ${model}`
  let last = ''
  for (let event = await stream.next(); event !== undefined; event = await stream.next()) {
    last = event.type
    caller.waitsFor = `what follows ${last} of ${model}`
    if (!slow) continue
    stream.pause()
    await pause(20)
    stream.resume()
  }
  return status === 200 ? last.replace('response.', '') : String(status)
}

/** Goes away after the first words, or before there were any. */
async function leaving(caller: Caller, model: string): Promise<string> {
  caller.waitsFor = `the first event of ${model}, to leave`
  await using stream = openStream(caller.target, { body: { model }, signal: caller.signal })
  if (model === 'late') await pause(100)
  else await stream.next()
  stream.leave()
  return 'left'
}

/** How often in a hundred, and what. */
const kinds: readonly (readonly [number, Kind])[] = [
  [50, caller => whole(caller, 'sim')],
  [25, caller => streamed(caller, 'sim')],
  [5, caller => streamed(caller, 'long')],
  [4, caller => streamed(caller, 'slow', true)],
  [5, caller => leaving(caller, 'long')],
  [3, caller => leaving(caller, 'late')],
  [4, caller => streamed(caller, 'broken')],
  [4, caller => whole(caller, 'failing')],
]

/** Everybody who calls. */
export interface Clients {
  readonly told: { calls: number; outcomes: Map<string, number> }
  stop(): void
  /** Resolves when everybody has heard the last of it. */
  readonly ended: Promise<void>
}

export interface ClientsParts {
  readonly perSecond: number
  /** How long a call may take before it counts as hung and is ended. */
  readonly hungAfterMs: number
  /** Told of each that hung, and what it waited for. */
  readonly tell: (line: string) => void
}

/** Calls that come at random, whatever becomes of those before. */
export function loadOf(targets: readonly Target[], { perSecond, hungAfterMs, tell }: ClientsParts): Clients {
  const chance = randomFrom(20)
  const told = { calls: 0, outcomes: new Map<string, number>() }
  const running = new Set<Promise<void>>()
  let isOver = false
  async function one(): Promise<void> {
    const call = kindAt(chance() * 100)
    const target = targets[told.calls % targets.length]!
    const outcome = await within(hungAfterMs, target, call, tell)
    told.outcomes.set(outcome, (told.outcomes.get(outcome) ?? 0) + 1)
  }
  const ended = (async () => {
    for (let dueMs = performance.now(); !isOver; dueMs += (-Math.log(1 - chance()) * 1000) / perSecond) {
      await pause(Math.max(0, dueMs - performance.now()))
      if (running.size >= runningMax) continue
      const call = one().finally(() => running.delete(call))
      running.add(call)
      told.calls += 1
    }
    await Promise.all(running)
  })()
  return {
    told,
    stop() {
      isOver = true
    },
    ended,
  }
}

/**
 * How a call ended. `hung` when it did not: where a gateway is starved, its system may have acknowledged a connection for which there was
 * then no room in the line of those to be accepted. The client has it and waits; the gateway never had it.
 */
async function within(ms: number, target: Target, call: Kind, tell: (line: string) => void): Promise<string> {
  const giveUp = new AbortController()
  const caller: Caller = { target, signal: giveUp.signal, waitsFor: 'nothing yet' }
  const timer = setTimeout(() => giveUp.abort(), ms)
  const outcome = await call(caller).catch(() => 'broken off')
  clearTimeout(timer)
  if (!giveUp.signal.aborted) return outcome
  tell(`hung: after ${shown(ms / 1000)} s a client still waited for ${caller.waitsFor}`)
  return 'hung'
}

/** Beyond it the client is what is soaked. */
const runningMax = 1_000

function kindAt(lot: number): Kind {
  let before = 0
  for (const [share, kind] of kinds) {
    before += share
    if (lot < before) return kind
  }
  return kinds[0]![1]
}
