import type { Known } from '../coordination/coordinator.ts'
import type { Account } from '../directory/entities.ts'
import { Ranks } from '../lib/ranks.ts'
import { type Candidate, organizationOf, type Readiness, readinessOf, restsUntilMs } from './account.ts'
import { drawn } from './select.ts'

/** An account that lists the model, and its upstream's name for it. */
export type Server = Pick<Candidate, 'account' | 'model'>

/** What is to be seen of some accounts at one moment. Those `except` are passed over; they are few. */
export interface ChoosableNow {
  /** Those to compare, of the lowest priority number that has any free or due for a probe: all of few, two drawn by lot of many. */
  draw(chance: () => number, except: ReadonlySet<string>): Candidate[]
  count(readiness: readonly Readiness[], except: ReadonlySet<string>): number
  /** All of these, in the operator's order. Costs a look at every account. */
  list(readiness: readonly Readiness[], except: ReadonlySet<string>): Candidate[]
  /** Undefined when it is not among them. */
  find(accountId: string): Candidate | undefined
}

/**
 * The accounts that list a model, and which of them may be given a call now, kept up to date by what changes: a call looks at those
 * that it compares, however many there are. It reads clock and conditions only when it is asked `at` a moment, and is the same
 * then as if it had looked at all of them anew.
 */
export class Choosable implements ChoosableNow {
  readonly servers: readonly Server[]
  readonly #accounts: ReadonlyMap<string, Account>
  /** By priority; of one priority in the operator's order. A place is an index of this. */
  readonly #sorted: readonly Server[]
  readonly #places: ReadonlyMap<string, number>
  /** Where the next priority begins. */
  readonly #ends: Int32Array
  readonly #ready: Ranks
  readonly #readiness: Readiness[]
  readonly #counts = new Map<Readiness, number>()
  /** When its readiness changes by itself; never is infinity. */
  readonly #wakesAtMs: Float64Array
  #firstWakeMs = Number.POSITIVE_INFINITY
  #known: Known | undefined
  #seen = 0
  #atMs = Number.NEGATIVE_INFINITY
  readonly #parts = new Map<string, Choosable>()
  readonly #renewed = new WeakMap<ReadonlyMap<string, Account>, Choosable>()

  /** `accounts` are those that the servers were made of: as the operator had them. */
  constructor(servers: readonly Server[], accounts: ReadonlyMap<string, Account>) {
    this.servers = servers
    this.#accounts = accounts
    this.#sorted = servers.toSorted((one, other) => one.account.priority - other.account.priority)
    this.#places = new Map(this.#sorted.map(({ account }, place) => [account.id, place]))
    this.#ends = endsOf(this.#sorted)
    this.#ready = new Ranks(servers.length)
    this.#readiness = servers.map(() => 'disabled')
    this.#counts.set('disabled', servers.length)
    this.#wakesAtMs = new Float64Array(servers.length).fill(Number.POSITIVE_INFINITY)
  }

  /** The same ones as the operator has them now: some have got another key or limit meanwhile, or have gone. */
  as(accounts: ReadonlyMap<string, Account>): Choosable {
    if (accounts === this.#accounts) return this
    let renewed = this.#renewed.get(accounts)
    if (renewed === undefined) {
      const servers = this.servers.flatMap(({ account, model }) => {
        const now = accounts.get(account.id)
        return now === undefined ? [] : [{ account: now, model }]
      })
      this.#renewed.set(accounts, (renewed = new Choosable(servers, accounts)))
    }
    return renewed
  }

  /** Only this one, if it is among them. */
  only(accountId: string): Choosable {
    return this.#part(`only ${accountId}`, ({ account }) => account.id === accountId)
  }

  /** Only those of an organization, named as `organizationOf` names it. */
  within(organization: string): Choosable {
    return this.#part(`within ${organization}`, ({ account }) => organizationOf(account) === organization)
  }

  /** Itself, caught up with that moment. */
  at(known: Known, nowMs: number): ChoosableNow {
    this.#catchUp(known, nowMs)
    return this
  }

  draw(chance: () => number, except: ReadonlySet<string>): Candidate[] {
    const hidden = except.size === 0 ? noPlaces : this.#readyOf(except)
    for (const place of hidden) this.#ready.set(place, false)
    const first = this.#ready.at(0)
    const count = first < this.#ready.size ? this.#ready.below(this.#ends[first]!) : 0
    const candidates = drawn(count, chance).map(rank => this.#candidate(this.#sorted[this.#ready.at(rank)]!))
    for (const place of hidden) this.#ready.set(place, true)
    return candidates
  }

  #readyOf(ids: ReadonlySet<string>): number[] {
    return [...ids].map(id => this.#places.get(id)).filter(place => place !== undefined && this.#ready.has(place)) as number[]
  }

  list(readiness: readonly Readiness[], except: ReadonlySet<string>): Candidate[] {
    return this.servers
      .filter(({ account: { id } }) => readiness.includes(this.#readiness[this.#places.get(id)!]!) && !except.has(id))
      .map(server => this.#candidate(server))
  }

  find(accountId: string): Candidate | undefined {
    const place = this.#places.get(accountId)
    return place === undefined ? undefined : this.#candidate(this.#sorted[place]!)
  }

  count(readiness: readonly Readiness[], except: ReadonlySet<string>): number {
    let count = 0
    for (const one of readiness) count += this.#counts.get(one) ?? 0
    for (const id of except) {
      const place = this.#places.get(id)
      if (place !== undefined && readiness.includes(this.#readiness[place]!)) count -= 1
    }
    return count
  }

  #catchUp(known: Known, nowMs: number): void {
    const { changes } = known
    // Whoever has as much to catch up with as there are accounts looks at each once.
    const isNear = known === this.#known && nowMs >= this.#atMs && changes - this.#seen < this.#sorted.length
    const changed = isNear ? known.changedSince(this.#seen) : undefined
    this.#known = known
    this.#seen = changes
    this.#atMs = nowMs
    if (changed === undefined) return this.#lookAtAll(() => true, known, nowMs)
    for (const id of changed) {
      const place = this.#places.get(id)
      if (place !== undefined) this.#look(place, known, nowMs)
    }
    if (nowMs >= this.#firstWakeMs) this.#lookAtAll(place => this.#wakesAtMs[place]! <= nowMs, known, nowMs)
  }

  /** Rests end seldom, beside how often somebody chooses: then a look at all the times is little. */
  #lookAtAll(isDue: (place: number) => boolean, known: Known, nowMs: number): void {
    this.#firstWakeMs = Number.POSITIVE_INFINITY
    for (let place = 0; place < this.#sorted.length; place += 1) {
      if (isDue(place)) this.#look(place, known, nowMs)
      else this.#firstWakeMs = Math.min(this.#firstWakeMs, this.#wakesAtMs[place]!)
    }
  }

  #look(place: number, known: Known, nowMs: number): void {
    const candidate = candidateOf(this.#sorted[place]!, known)
    const before = this.#readiness[place]!
    const now = readinessOf(candidate, nowMs)
    const wakesAtMs = changesAtMs(candidate, now, nowMs)
    this.#wakesAtMs[place] = wakesAtMs
    this.#firstWakeMs = Math.min(this.#firstWakeMs, wakesAtMs)
    if (now === before) return
    this.#readiness[place] = now
    this.#counts.set(before, this.#counts.get(before)! - 1)
    this.#counts.set(now, (this.#counts.get(now) ?? 0) + 1)
    this.#ready.set(place, now === 'free' || now === 'probe')
  }

  #candidate(server: Server): Candidate {
    return candidateOf(server, this.#known!)
  }

  #part(name: string, isIn: (server: Server) => boolean): Choosable {
    let part = this.#parts.get(name)
    if (part === undefined) this.#parts.set(name, (part = new Choosable(this.servers.filter(isIn), this.#accounts)))
    return part
  }
}

const noPlaces: readonly number[] = []

function candidateOf({ account, model }: Server, known: Known): Candidate {
  return { account, model, condition: known.of(account.id) }
}

/** When only time must pass for an account to be looked at again; of all else a change is told. */
function changesAtMs(candidate: Candidate, readiness: Readiness, nowMs: number): number {
  if (readiness === 'resting') return restsUntilMs(candidate, nowMs)!
  const { probeAtMs } = candidate.condition
  return (readiness === 'circuit' || readiness === 'out') && probeAtMs > nowMs ? probeAtMs : Number.POSITIVE_INFINITY
}

/** For each place, where those of its priority end. */
function endsOf(sorted: readonly Server[]): Int32Array {
  const ends = new Int32Array(sorted.length)
  let end = sorted.length
  for (let place = sorted.length - 1; place >= 0; place -= 1) {
    if (place + 1 < sorted.length && sorted[place]!.account.priority !== sorted[place + 1]!.account.priority) end = place + 1
    ends[place] = end
  }
  return ends
}
