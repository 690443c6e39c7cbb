import { createHash } from 'node:crypto'
import { type AccountLimit, type Condition, isOverRate, type Meter, type OverRate, type Slot } from '../coordination/coordinator.ts'
import { givenBack } from '../coordination/meters.ts'
import type { Principal } from '../directory/snapshot.ts'
import { Fault } from '../lib/fault.ts'
import {
  type Candidate,
  hasRoom,
  organizationOf,
  type Readiness,
  readinessOf,
  restsFromModel,
  restsUntilMs,
  whyNot,
} from '../upstreams/account.ts'
import { aged, withoutProbe, withProbe } from '../upstreams/rest.ts'
import { leastBad, leastLoaded, muchFaster } from '../upstreams/select.ts'
import type { Admission } from './admit.ts'
import { authenticateAgain } from './authenticate.ts'
import { beside, sureSlot } from './beside.ts'
import type { Client } from './client.ts'
import type { Gateway } from './gateway.ts'
import type { Server } from './offers.ts'
import { patience } from './patience.ts'

/** An account for one attempt, with its slot. */
export interface Chosen {
  readonly server: Server
  readonly slot: Slot
}

/** Nobody can be asked now. */
export interface Nobody {
  readonly why: string
  /** Until the first rest of any of them ends; undefined when none rests. */
  readonly restEndsInMs: number | undefined
}

type Account = Server['account']

type Parts = Pick<Gateway, 'directory' | 'coordinator' | 'clock' | 'chance' | 'settings' | 'closing' | 'log' | 'metrics'>

/** Chooses accounts for the attempts of one call, in the order of SPEC 1.5. Remembers whom it already gave. */
export class Chooser {
  readonly #admission: Admission
  readonly #client: Client
  readonly #parts: Parts
  readonly #tried = new Set<string>()
  /** Accounts whose own rates have no room for this call, and until when. Smaller calls may still fit. */
  readonly #overRate = new Map<string, number>()
  readonly #servers: readonly Server[]
  readonly sessionKey: string | undefined
  #stickyAsked = false
  #session: Promise<string | undefined> | undefined

  constructor(admission: Admission, client: Client, parts: Parts) {
    this.#admission = admission
    this.#client = client
    this.#parts = parts
    const { servers } = admission.offer
    this.#servers = admission.boundTo === undefined ? servers : servers.filter(({ account }) => account.id === admission.boundTo)
    this.sessionKey = sessionKeyOf(client, admission)
  }

  /** An account not yet tried, with its slot, at once or after standing in the pool's line. */
  async next(): Promise<Chosen | Nobody> {
    for (;;) {
      // Asked together, so that a coordinator that is far away is waited for once.
      const [all] = await Promise.all([this.#candidates(), this.#stickyAccount()])
      const candidates = await this.#ableToRead(all)
      const chosen = (await this.#sticky(candidates)) ?? (await this.#free(candidates)) ?? (await this.#inLine(candidates))
      if (chosen === 'again') continue
      if (chosen !== undefined) this.#tried.add(chosen.server.account.id)
      return chosen ?? this.#nobody(await this.#candidates('tried too'))
    }
  }

  /** The account that was tried last, once more: its slot, or undefined when it is taken meanwhile. */
  async again({ account }: Server): Promise<Slot | undefined> {
    const { coordinator, log } = this.#parts
    // Its rates were spent the first time.
    const slot = await coordinator.take({ accountId: account.id, slots: account.concurrency })
    return slot === undefined || isOverRate(slot) ? undefined : sureSlot(slot, log)
  }

  /**
   * An account not yet tried that can take the call at this moment, with its slot; undefined when none can: a bound call
   * has no other. One that lately took `limitMs` and longer to begin is no better than the one that is being waited for.
   */
  async elsewhere(limitMs: number): Promise<Chosen | undefined> {
    const nowMs = this.#parts.clock.nowMs()
    const isFree = (candidate: Candidate) => readinessOf(candidate, nowMs) === 'free' && (candidate.condition.firstEventMs ?? 0) < limitMs
    const able = await this.#ableToRead(await this.#candidates(), 'always')
    const best = leastLoaded(this.#aged(able).filter(isFree), this.#parts.chance)
    const chosen = best && (await this.#chosen(best))
    if (chosen !== undefined) this.#tried.add(chosen.server.account.id)
    return chosen
  }

  /** Nothing was sent to it: its slot and its rate are others' again, and it may still be asked. */
  async giveBack({ server: { account }, slot }: Chosen): Promise<void> {
    this.#tried.delete(account.id)
    await slot[Symbol.asyncDispose]()
    await this.#giveBackRates(account)
  }

  /** When and why nobody can be asked, whoever was tried. */
  async nobody(): Promise<Nobody> {
    return this.#nobody(await this.#candidates('tried too'))
  }

  async #candidates(scope: 'untried' | 'tried too' = 'untried'): Promise<Candidate[]> {
    const servers = this.#now().filter(({ account }) => scope === 'tried too' || !this.#tried.has(account.id))
    const conditions = await this.#parts.coordinator.conditions(servers.map(({ account }) => account.id))
    return servers.map((server, i) => ({ ...server, condition: this.#forThisCall(server, conditions[i]!) }))
  }

  /** As the operator has them now: while a call stood in line an account may have got another key, or gone. */
  #now(): Server[] {
    const { accounts } = this.#parts.directory.snapshot()
    return this.#servers.flatMap(({ account, model }) => {
      const now = accounts.get(account.id)
      return now === undefined ? [] : [{ account: now, model }]
    })
  }

  #forThisCall({ account }: Server, condition: Condition): Condition {
    const { clock } = this.#parts
    const untilMs = this.#overRate.get(account.id)
    if (untilMs === undefined) return condition
    if (untilMs > clock.nowMs()) return { ...condition, restingUntilMs: Math.max(condition.restingUntilMs, untilMs) }
    this.#overRate.delete(account.id)
    return condition
  }

  /** The account whose prompt cache is warm; if it is only full, a short wait for it is worth the while. */
  async #sticky(candidates: readonly Candidate[]): Promise<Chosen | undefined> {
    if (this.#stickyAsked) return undefined
    this.#stickyAsked = true
    const { settings, clock } = this.#parts
    const accountId = await this.#stickyAccount()
    const warm = candidates.find(({ account }) => account.id === accountId)
    if (warm === undefined) return undefined
    const others = candidates.filter(other => other !== warm && readinessOf(other, clock.nowMs()) === 'free')
    // By what was measured, however long ago: aged, whoever idles would look ever faster than the one that works.
    const faster = leastLoaded(muchFaster(warm, others), this.#parts.chance)
    if (faster !== undefined) return this.#take(faster, 'free')
    const readiness = readinessOf(warm, clock.nowMs())
    if (readiness === 'free') return this.#take(warm, readiness)
    if (readiness !== 'full') return undefined
    const waited = await this.#waitFor([warm], {
      ms: settings.stickyWaitMs,
      only: { name: `sticky:${warm.account.id}`, waitingMax: settings.stickyWaiting },
    })
    return waited === 'again' ? undefined : waited
  }

  /** The session's account, for a call that may be sent anywhere. */
  async #stickyAccount(): Promise<string | undefined> {
    const isFree = this.#admission.boundTo === undefined
    return this.sessionKey !== undefined && isFree ? this.#sessionAccount(this.sessionKey) : undefined
  }

  /** The account that the session is bound to, if it is known. Asked once in a call. */
  #sessionAccount(key: string): Promise<string | undefined> {
    const { coordinator, log, settings } = this.#parts
    this.#session ??= beside('finding a session', log, () => coordinator.session(key, settings.sessionTtlMs))
    return this.#session
  }

  /**
   * Encrypted content is read by the organisation that made it, as far as anybody knows: the one that the session is at. While an account
   * there can be used, though it be full, the call stays; only else it may go where its content cannot be read, unless `always`.
   */
  async #ableToRead(candidates: readonly Candidate[], stays: 'while usable' | 'always' = 'while usable'): Promise<readonly Candidate[]> {
    if (!this.#admission.call.facts.hasEncryptedContent || this.sessionKey === undefined) return candidates
    const { directory, clock } = this.#parts
    const home = directory.snapshot().accounts.get((await this.#sessionAccount(this.sessionKey)) ?? '')
    if (home === undefined) return candidates
    const able = candidates.filter(({ account }) => organizationOf(account) === organizationOf(home))
    const nowMs = clock.nowMs()
    const isUsable = (candidate: Candidate) => ['free', 'full', 'probe'].includes(readinessOf(candidate, nowMs))
    return stays === 'always' || able.some(isUsable) ? able : candidates
  }

  #aged(measured: readonly Candidate[]): Candidate[] {
    const { clock, settings } = this.#parts
    return measured.map(one => ({ ...one, condition: aged(one.condition, clock.nowMs(), settings.recordHalfLifeMs) }))
  }

  async #free(measured: readonly Candidate[]): Promise<Chosen | 'again' | undefined> {
    const nowMs = this.#parts.clock.nowMs()
    const candidates = this.#aged(measured)
    const ready = new Map(candidates.map(candidate => [candidate, readinessOf(candidate, nowMs)]))
    const of = (...wanted: Readiness[]) => candidates.filter(candidate => wanted.includes(ready.get(candidate)!))
    const best = leastLoaded(of('free', 'probe'), this.#parts.chance) ?? (await this.#leastBad(of('circuit').filter(hasRoom)))
    if (best === undefined) return undefined
    // Another call was quicker: look again.
    return (await this.#take(best, ready.get(best)!)) ?? 'again'
  }

  /** Only when all of the pool is out by circuit: beside one that is well, an open circuit is left alone. */
  async #leastBad(failing: readonly Candidate[]): Promise<Candidate | undefined> {
    if (failing.length === 0) return undefined
    const nowMs = this.#parts.clock.nowMs()
    const all = await this.#candidates('tried too')
    const isAllOut = all.every(candidate => ['circuit', 'probe', 'disabled'].includes(readinessOf(candidate, nowMs)))
    return isAllOut ? leastBad(failing, this.#parts.chance) : undefined
  }

  async #inLine(candidates: readonly Candidate[]): Promise<Chosen | 'again' | undefined> {
    const nowMs = this.#parts.clock.nowMs()
    if (!candidates.some(candidate => readinessOf(candidate, nowMs) === 'full')) return undefined
    const eligible = candidates.filter(candidate => ['full', 'resting', 'circuit'].includes(readinessOf(candidate, nowMs)))
    // The line knows when an account may be used again, but neither models nor what this call would need.
    const waking = eligible.filter(candidate => !restsFromModel(candidate, nowMs) && !this.#overRate.has(candidate.account.id))
    return waking.length === 0 ? undefined : this.#waitFor(waking, {})
  }

  async #take(candidate: Candidate, readiness: Readiness): Promise<Chosen | undefined> {
    const { account } = candidate
    if (readiness !== 'probe') return this.#chosen(candidate)
    if (!(await this.#claimProbe(account.id))) return undefined
    let chosen: Chosen | undefined
    try {
      chosen = await this.#chosen(candidate)
    } finally {
      // A mark that nobody takes back would keep the account out for ever.
      if (chosen === undefined) await this.#unclaimProbe(account.id)
    }
    return chosen
  }

  /** The slot and the rate together: what another call was quicker to take must not cost this one its share. */
  async #chosen({ account, model }: Server): Promise<Chosen | undefined> {
    const { coordinator, log } = this.#parts
    const slot = await coordinator.take(this.#limitOf(account))
    if (isOverRate(slot)) return this.#noteOverRate(account.id, slot)
    return slot && { server: { account, model }, slot: sureSlot(slot, log) }
  }

  #limitOf(account: Account): AccountLimit {
    return { accountId: account.id, slots: account.concurrency, meters: metersOfAccount(account, this.#admission.call.inputTokens) }
  }

  /** An account's own rates steer the choice: one that has no room this minute is not there for this call. */
  #noteOverRate(accountId: string, { retryAfterMs }: OverRate): undefined {
    this.#overRate.set(accountId, this.#parts.clock.nowMs() + retryAfterMs)
  }

  async #giveBackRates(account: Account): Promise<void> {
    const { coordinator, log } = this.#parts
    const meters = metersOfAccount(account, this.#admission.call.inputTokens)
    if (meters.length > 0) await beside('giving back rates', log, () => coordinator.correct(givenBack(meters)))
  }

  /** One probe at a time: whoever finds the mark already set is too late. */
  async #claimProbe(accountId: string): Promise<boolean> {
    let isMine = false
    await this.#parts.coordinator.change(accountId, condition => {
      isMine = !condition.probing
      return withProbe(condition)
    })
    return isMine
  }

  async #unclaimProbe(accountId: string): Promise<void> {
    await beside('taking back the mark of a probe', this.#parts.log, () => this.#parts.coordinator.change(accountId, withoutProbe))
  }

  async #waitFor(
    candidates: readonly Candidate[],
    { ms, only }: { ms?: number; only?: { name: string; waitingMax: number } },
  ): Promise<Chosen | 'again' | undefined> {
    const { coordinator, settings, clock, closing } = this.#parts
    this.#client.commentEvery(this.#admission.call.facts.stream ? settings.waitingCommentMs : 0)
    const leftMs = this.#admission.waitUntilMs - clock.elapsedMs()
    const isShort = ms !== undefined && ms < leftMs
    const tooLong = new Fault('line_timeout_account')
    using waiting = patience([this.#client.left, closing], { clock, ms: isShort ? ms : leftMs, tooLong: () => tooLong })
    const { principal, offer } = this.#admission
    const accounts = candidates.map(({ account }) => this.#limitOf(account))
    const entry = { pool: offer.group.id, userId: principal.user.id, accounts, waitingMax: settings.poolWaitingMax }
    const startedMs = clock.elapsedMs()
    try {
      const turn = await coordinator.wait(only ? { ...entry, only } : entry, waiting.signal)
      if ('over' in turn) {
        this.#noteOverRate(turn.accountId, turn.over)
        return 'again'
      }
      const { account } = candidates.find(candidate => candidate.account.id === turn.accountId)!
      return await this.#afterWaiting(account, sureSlot(turn.slot, this.#parts.log))
    } catch (error) {
      // A warm cache was worth a little waiting, and no more.
      const isOnlyStickiness = only !== undefined && error instanceof Fault && (error === tooLong ? isShort : error.fault === 'line_full')
      if (isOnlyStickiness) return undefined
      throw error
    } finally {
      this.#admission.receipt.lineMs += clock.elapsedMs() - startedMs
    }
  }

  /** What was revoked or disabled while one stood in line is gone when its turn comes. */
  async #afterWaiting(waitedFor: Account, slot: Slot): Promise<Chosen | 'again'> {
    await using scope = new AsyncDisposableStack()
    scope.use(slot)
    scope.defer(() => this.#giveBackRates(waitedFor))
    await authenticateAgain(this.#client, this.#parts)
    const server = this.#now().find(({ account }) => account.id === waitedFor.id)
    if (server === undefined || server.account.disabled) return 'again'
    scope.move()
    return { server, slot }
  }

  #nobody(candidates: readonly Candidate[]): Nobody {
    const nowMs = this.#parts.clock.nowMs()
    const ends = candidates.map(candidate => restsUntilMs(candidate, nowMs)).filter(end => end !== undefined)
    const why =
      candidates.length === 0 ? 'the account that holds what this call refers to no longer serves this key' : whyNot(candidates, nowMs)
    return { why, restEndsInMs: ends.length === 0 ? undefined : Math.min(...ends) - nowMs }
  }
}

/** All accounts' meters have one owner, because their slots have. */
export function metersOfAccount(account: Account, tokens: number): Meter[] {
  return metersOf(`account:${account.id}`, account, tokens, 'pools')
}

/** A key's meters are its user's: what is spent together has one owner. */
export function metersOfCaller({ user, key }: Pick<Principal, 'user' | 'key'>, tokens: number): Meter[] {
  const owner = `user:${user.id}`
  return [...metersOf(owner, user, tokens, owner), ...metersOf(`key:${key.id}`, key, tokens, owner)]
}

/** The meters of whoever has rates: one request, and so many tokens. */
function metersOf(
  name: string,
  rates: { readonly requestsPerMinute: number | null; readonly tokensPerMinute: number | null },
  tokens: number,
  owner: string,
): Meter[] {
  const meters: Meter[] = []
  if (rates.requestsPerMinute !== null) meters.push({ name: `${name}:requests`, owner, perMinute: rates.requestsPerMinute, amount: 1 })
  if (rates.tokensPerMinute !== null) meters.push({ name: `${name}:tokens`, owner, perMinute: rates.tokensPerMinute, amount: tokens })
  return meters
}

/** What the client calls its session, hashed with the user so that nobody lands in another's. */
function sessionKeyOf(client: Client, { principal, call }: Admission): string | undefined {
  const names = ['session_id', 'session-id', 'x-session-affinity'].map(name => client.header(name))
  const said = [...names, call.facts.promptCacheKey].find(name => name !== undefined && name.trim() !== '')
  if (said === undefined) return undefined
  return createHash('sha256').update(`${principal.user.id}\n${said}`).digest('base64url')
}
