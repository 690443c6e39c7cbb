import type { Condition, Coordinator } from '../../src/coordination/coordinator.ts'
import type { LawsParts } from './attempts.ts'
import type { Phase, Upstream } from './cast.ts'
import { type Played, playing } from './played.ts'
import type { Sent } from './upstreams.ts'

/** What sessions did in a run, for T13. */
export interface SessionFigures {
  /** Calls whose account was healthy, and where they went. */
  stayed: number
  /** Elsewhere, because their own account was full for as long as one waits, or enough waited already. */
  displaced: number
  strayed: number
  /** Sessions that left a slow account, by how many of their streams had begun slowly there. */
  readonly left: Record<number, number>
}

/** One user's session, by what its clients and upstreams see. */
interface Session {
  readonly accountId: string
  /** Since it came to this account, so many of its streams began slowly there, in the phase that began then. */
  readonly slowAnswers: number
  readonly slowSinceMs: number
}

/** A call at the moment when its session was looked up. */
interface Choosing {
  readonly accountId: string
  readonly isHealthy: boolean
  readonly isFull: boolean
  readonly mustLeave: boolean
  readonly slowAnswers: number
}

export interface SessionParts extends LawsParts {
  readonly upstreams: readonly Upstream[]
}

/** T13: sessions stay with an account that is well, leave one that has become slow within three calls, and nobody has another's. */
export class SessionLaws {
  readonly #parts: SessionParts
  readonly figures: SessionFigures = { stayed: 0, displaced: 0, strayed: 0, left: {} }
  readonly #sessions = new Map<string, Session>()
  readonly #choosing = new Map<Played, Choosing>()
  /** Streams that an upstream has begun in a phase of its. */
  readonly #answers = new Map<Phase, number>()
  /** The key under which the gateway keeps a session → whose it is. */
  readonly #owners = new Map<string, string>()

  constructor(parts: SessionParts) {
    this.#parts = parts
  }

  over(coordinator: Coordinator): Pick<Coordinator, 'session' | 'bindSession'> {
    return {
      session: (key, ttlMs) => {
        this.#expectOwn(key)
        this.#looksUp(playing.getStore()!)
        return coordinator.session(key, ttlMs)
      },
      bindSession: (key, accountId, ttlMs) => {
        this.#expectOwn(key)
        return coordinator.bindSession(key, accountId, ttlMs)
      },
    }
  }

  /** The first attempt shows what was chosen. */
  sent({ played, accountId }: Sent): void {
    const choosing = this.#choosing.get(played)
    this.#choosing.delete(played)
    if (choosing === undefined) return
    const isThere = accountId === choosing.accountId
    if (choosing.isHealthy) this.figures[isThere ? 'stayed' : choosing.isFull ? 'displaced' : 'strayed'] += 1
    if (choosing.slowAnswers > 0 && !isThere) this.figures.left[choosing.slowAnswers] = (this.figures.left[choosing.slowAnswers] ?? 0) + 1
    if (choosing.mustLeave && isThere)
      this.#parts.broke(`${played.name} is the ${choosing.slowAnswers + 1}th call of its session at ${accountId}, which is slow`)
  }

  /** An answer has begun: from here on the session is bound to its account. */
  begun({ played, accountId, phase }: Sent): void {
    if (played.stream) this.#answers.set(phase, (this.#answers.get(phase) ?? 0) + 1)
    if (played.session === undefined || played.hasLeft) return
    const name = nameOf(played)
    const was = this.#sessions.get(name)
    const isSame = was?.accountId === accountId && was.slowSinceMs === phase.fromMs
    const before = isSame ? was.slowAnswers : 0
    // How long a whole JSON answer takes says nothing: it may be a long one.
    this.#sessions.set(name, {
      accountId,
      slowAnswers: before + (phase.mood === 'slow' && played.stream ? 1 : 0),
      slowSinceMs: phase.fromMs,
    })
  }

  #expectOwn(key: string): void {
    const name = nameOf(playing.getStore()!)
    const owner = this.#owners.get(key) ?? name
    if (owner !== name) this.#parts.broke(`the session ${name} is kept under the key of ${owner}`)
    this.#owners.set(key, owner)
  }

  #looksUp(played: Played): void {
    const session = this.#sessions.get(nameOf(played))
    if (session === undefined) return
    const { accountId, slowAnswers } = session
    const { disabled, requestsPerMinute } = this.#parts.directory.snapshot().accounts.get(accountId)!
    // An account with a rate of its own may have none left; whether it has is nobody's to see here.
    const isUsable =
      !disabled &&
      requestsPerMinute === null &&
      this.#serves(played, accountId) &&
      !isKeptOut(this.#conditionOf(accountId), this.#parts.clock.nowMs())
    const isSlowNow = this.#phaseOf(accountId).mood === 'slow' && slowAnswers > 0
    this.#choosing.set(played, {
      accountId,
      isHealthy: isUsable && this.#hasBeenWell(accountId),
      isFull: this.#isFull(accountId),
      mustLeave: slowAnswers >= slowAnswersMax && isSlowNow && this.#hasFaster(played, accountId),
      slowAnswers: isSlowNow ? slowAnswers : 0,
    })
  }

  /** Another account that the call may use now, of which it is known that it is fast. */
  #hasFaster(played: Played, than: string): boolean {
    const { clock } = this.#parts
    return this.#poolOf(played).some(({ id, disabled }) => {
      const condition = this.#conditionOf(id)
      const isKnown = condition.firstEventMs !== null && condition.firstEventMs * 4 < (this.#conditionOf(than).firstEventMs ?? 0)
      return id !== than && !disabled && isKnown && !isKeptOut(condition, clock.nowMs()) && !this.#isFull(id) && this.#hasBeenWell(id)
    })
  }

  #poolOf({ key }: Played) {
    const snapshot = this.#parts.directory.snapshot()
    return snapshot.accountsOf(key.groupIds.find(id => snapshot.accountsOf(id).length > 0) ?? '')
  }

  #serves(played: Played, accountId: string): boolean {
    return this.#poolOf(played).some(({ id }) => id === accountId)
  }

  #isFull(accountId: string): boolean {
    const { concurrency } = this.#parts.directory.snapshot().accounts.get(accountId)!
    return concurrency > 0 && this.#parts.takenOf(accountId) >= concurrency
  }

  #conditionOf(accountId: string): Condition {
    return this.#parts.conditionOf(accountId)
  }

  #phaseOf(accountId: string): Phase {
    const { phases } = this.#parts.upstreams.find(({ account }) => account.id === accountId)!
    return phases.findLast(({ fromMs }) => fromMs <= this.#parts.clock.elapsedMs())!
  }

  /** From the beginning, or long enough and used often enough that what was measured before has faded. */
  #hasBeenWell(accountId: string): boolean {
    const phase = this.#phaseOf(accountId)
    if (phase.mood !== 'well') return false
    const isLong = phase.fromMs + recoveringMs <= this.#parts.clock.elapsedMs()
    return phase.fromMs === 0 || (isLong && (this.#answers.get(phase) ?? 0) >= recoveringAnswers)
  }
}

/** Calls that a session may lose to an account that has become slow. */
const slowAnswersMax = 3
const recoveringMs = 60_000
const recoveringAnswers = 8

function nameOf({ user, session }: Played): string {
  return `${user.id} ${session}`
}

function isKeptOut({ restingUntilMs, outSinceMs, circuitSinceMs }: Condition, nowMs: number): boolean {
  return restingUntilMs > nowMs || outSinceMs !== null || circuitSinceMs !== null
}
