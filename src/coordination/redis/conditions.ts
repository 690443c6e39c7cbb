import type { Clock } from '../../lib/clock.ts'
import { Changes } from '../changes.ts'
import { type Condition, calm, type Known } from '../coordinator.ts'
import { poolsRoot } from './pools.ts'
import type { Wire } from './wire.ts'

/** What is known of an account. The times in it are everybody's. */
interface Copy {
  version: string
  condition: Condition
  readAtMs: number
}

interface Change {
  readonly change: (condition: Condition) => Condition
  readonly done: (condition: Condition) => void
  readonly failed: (error: unknown) => void
}

/** How far everybody's time is ahead of this process's. */
type AheadMs = () => number

/**
 * So old may what is known of an account be when one is chosen. The slots themselves are never taken by it; it spares Redis to
 * say of every account at every call what it said a moment ago.
 */
const freshMs = 50

/**
 * Whoever chooses among many accounts asks for the few that are compared. So many of the others, those not asked for the longest, are
 * asked for beside them, so that what other nodes learn of them is heard: of 1,000 each within a second.
 */
const besideMax = 64

/** Others are quicker only so often. */
const triesMax = 100

/** The accounts' conditions, in Redis, with a copy here. Changes of one account go one after the other, those that wait together. */
export class RedisConditions {
  readonly #wire: Wire
  readonly #clock: Clock
  readonly #aheadMs: AheadMs
  /** Those first that were not read for the longest. */
  readonly #known = new Map<string, Copy>()
  readonly #waiting = new Map<string, Change[]>()
  readonly #changes = new Changes()
  #besideAtMs = Number.NEGATIVE_INFINITY
  readonly known: Known

  constructor(wire: Wire, clock: Clock, aheadMs: AheadMs) {
    this.#wire = wire
    this.#clock = clock
    this.#aheadMs = aheadMs
    const changes = this.#changes
    this.known = {
      of: id => this.#here(this.#known.get(id)?.condition ?? calm),
      get changes() {
        return changes.count
      },
      changedSince: count => changes.since(count),
      isAll: false,
    }
  }

  async of(ids: readonly string[]): Promise<readonly Condition[]> {
    const atMs = this.#clock.elapsedMs()
    const old = new Set(ids.filter(id => atMs - (this.#known.get(id)?.readAtMs ?? Number.NEGATIVE_INFINITY) > freshMs))
    if (atMs - this.#besideAtMs > freshMs) {
      this.#besideAtMs = atMs
      for (const id of this.#longestUnread(atMs)) old.add(id)
    }
    if (old.size > 0) await this.#read([...old])
    return ids.map(this.known.of)
  }

  #longestUnread(atMs: number): string[] {
    const found: string[] = []
    for (const [id, { readAtMs }] of this.#known) {
      if (found.length === besideMax) break
      if (atMs - readAtMs > freshMs) found.push(id)
    }
    return found
  }

  /** Everything that is known, in this process's time. */
  copy(): ReadonlyMap<string, Condition> {
    return new Map([...this.#known].map(([id, { condition }]) => [id, this.#here(condition)]))
  }

  change(id: string, change: (condition: Condition) => Condition): Promise<Condition> {
    return new Promise((done, failed) => {
      const waiting = this.#waiting.get(id)
      if (waiting !== undefined) return void waiting.push({ change, done, failed })
      this.#waiting.set(id, [{ change, done, failed }])
      void this.#write(id)
    })
  }

  /** Taking a slot says how many are taken, and whether the condition is still the one that is known. */
  noteTaken(id: string, { taken, version, isTaken }: { taken: number; version: string; isTaken: boolean }): void {
    const known = this.#known.get(id)
    if (known === undefined) return
    const lastUsedMs = isTaken ? this.#clock.nowMs() + this.#aheadMs() : known.condition.lastUsedMs
    known.condition = { ...known.condition, taken, lastUsedMs }
    this.#changes.note(id)
    if (known.version !== version) known.readAtMs = Number.NEGATIVE_INFINITY
  }

  noteGiven(id: string): void {
    const known = this.#known.get(id)
    if (known === undefined) return
    known.condition = { ...known.condition, taken: Math.max(0, known.condition.taken - 1) }
    this.#changes.note(id)
  }

  async #read(ids: readonly string[]): Promise<void> {
    const asked = ids.flatMap(id => [id, this.#known.get(id)?.version ?? ''])
    const answers = (await this.#wire.run('pools-conditions', [poolsRoot], asked)) as readonly (readonly [string, string, number, string])[]
    const readAtMs = this.#clock.elapsedMs()
    ids.forEach((id, i) => {
      const [version, text, taken, used] = answers[i]!
      const before = this.#known.get(id)
      const same = before?.version === version ? before.condition : calm
      const condition = { ...(text === '' ? same : read(text)), taken, lastUsedMs: Number(used) }
      this.#keep(id, { version, condition, readAtMs })
    })
  }

  /** Until nobody waits any more, all those at once who wait. */
  async #write(id: string): Promise<void> {
    const waiting = this.#waiting.get(id)!
    try {
      if (!this.#known.has(id)) await this.#read([id])
      while (waiting.length > 0) await this.#writeTurn(id, waiting.splice(0))
    } catch (error) {
      for (const { failed } of waiting) failed(error)
    }
    this.#waiting.delete(id)
  }

  async #writeTurn(id: string, turn: readonly Change[]): Promise<void> {
    try {
      for (let tries = 0; tries < triesMax; tries++) {
        const made = await this.#writeOnce(id, turn)
        if (made === undefined) continue
        for (const [i, { done }] of turn.entries()) done(made[i]!)
        return
      }
      throw new Error(`others changed the condition of account ${id} ${triesMax} times in a row`)
    } catch (error) {
      for (const { failed } of turn) failed(error)
    }
  }

  /** What each change made of it, or undefined when another node was quicker. */
  async #writeOnce(id: string, turn: readonly Change[]): Promise<readonly Condition[] | undefined> {
    const { version, condition: before } = this.#known.get(id)!
    const made: Condition[] = []
    let condition = this.#here(before)
    // What is taken is counted in Redis alone.
    for (const { change } of turn) {
      condition = { ...change(condition), taken: before.taken, lastUsedMs: condition.lastUsedMs }
      made.push(condition)
    }
    const everybodys = shifted(condition, this.#aheadMs())
    const isOut = everybodys.outSinceMs !== null || everybodys.circuitSinceMs !== null
    const nowMs = this.#clock.nowMs() + this.#aheadMs()
    const args = [id, version, write(everybodys), everybodys.restingUntilMs, isOut ? 1 : 0, nowMs]
    const answer = (await this.#wire.run('pools-change', [poolsRoot], args)) as [number, string, string, number, string]
    const [isMine, newest, text, taken, used] = answer
    const counts = { taken, lastUsedMs: Number(used) }
    const known = isMine === 1 ? everybodys : text === '' ? calm : read(text)
    this.#keep(id, { version: newest, condition: { ...known, ...counts }, readAtMs: this.#clock.elapsedMs() })
    return isMine === 1 ? made.map(one => this.#here({ ...shifted(one, this.#aheadMs()), ...counts })) : undefined
  }

  #keep(id: string, copy: Copy): void {
    this.#known.delete(id) // So that it goes to the end.
    this.#known.set(id, copy)
    this.#changes.note(id)
  }

  #here(condition: Condition): Condition {
    return shifted(condition, -this.#aheadMs())
  }
}

/** The same moments by another clock. */
function shifted(condition: Condition, byMs: number): Condition {
  if (byMs === 0) return condition
  const moment = <Ms extends number | null>(ms: Ms) => (ms ? ms + byMs : ms) as Ms
  return {
    ...condition,
    lastUsedMs: moment(condition.lastUsedMs),
    restingUntilMs: moment(condition.restingUntilMs),
    restingSinceMs: moment(condition.restingSinceMs),
    outSinceMs: moment(condition.outSinceMs),
    circuitSinceMs: moment(condition.circuitSinceMs),
    probeAtMs: moment(condition.probeAtMs),
    modelRests: Object.fromEntries(Object.entries(condition.modelRests).map(([model, untilMs]) => [model, moment(untilMs)])),
  }
}

function write(condition: Condition): string {
  return JSON.stringify(condition)
}

/** Written by this program. A field that an older one did not know is calm. */
function read(text: string): Condition {
  return { ...calm, ...(JSON.parse(text) as Partial<Condition>) }
}
