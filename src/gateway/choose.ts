import { type AccountLimit, type Condition, isOverRate, type OverRate, type Slot } from '../coordination/coordinator.ts'
import { givenBack } from '../coordination/meters.ts'
import { Fault } from '../lib/fault.ts'
import { type Soon, whenThere } from '../lib/soon.ts'
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
import type { Choosable, ChoosableNow, Server } from '../upstreams/choosable.ts'
import { aged, withoutProbe, withProbe } from '../upstreams/rest.ts'
import { isSlow, leastBad, leastLoaded, leastOf, muchFaster } from '../upstreams/select.ts'
import type { Admission } from './admit.ts'
import { authenticateAgain } from './authenticate.ts'
import { beside, sureSlot } from './beside.ts'
import type { Client } from './client.ts'
import type { Gateway } from './gateway.ts'
import { metersOfAccount } from './meters.ts'
import { Patience } from './patience.ts'
import { sessionKeyOf } from './session-key.ts'

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
  #overRate: Map<string, number> | undefined
  readonly sessionKey: string | undefined
  /** Accounts that gave no slot though they seemed to have one: a node that is alone has a share of it, and others are quicker. */
  #gaveNone: Set<string> | undefined
  #stickyAsked = false
  #session: Soon<string | undefined>
  #sessionAsked = false

  constructor(admission: Admission, client: Client, parts: Parts) {
    this.#admission = admission
    this.#client = client
    this.#parts = parts
    this.sessionKey = sessionKeyOf(client, admission)
  }

  /** An account not yet tried, with its slot, at once or after standing in the pool's line. */
  next(): Soon<Chosen | Nobody> {
    return whenThere(this.#atOnce(), chosen => chosen ?? this.#inOrder())
  }

  /**
   * What the order comes to for the first attempt of an ordinary call, where all that is known is known here: nobody is asked, and nobody
   * waited for. Undefined when that does not find an account.
   */
  #atOnce(): Soon<Chosen | undefined> {
    const { coordinator, clock, chance } = this.#parts
    if (this.#stickyAsked || this.#admission.call.facts.hasEncryptedContent || !coordinator.known().isAll) return undefined
    const accountId = this.#stickyAccount()
    if (accountId instanceof Promise) return undefined
    const now = this.#now(this.#all())
    const warm = accountId === undefined ? undefined : now.find(accountId)
    if (warm !== undefined && isSlow(warm)) return undefined
    const best = warm ?? leastOf(this.#aged(now.draw(chance, nobodyExcepted)))
    if (best === undefined || readinessOf(best, clock.nowMs()) !== 'free') return undefined
    this.#stickyAsked = true
    return this.#chosen(best)
  }

  async #inOrder(): Promise<Chosen | Nobody> {
    for (;;) {
      await this.#askAtOnce()
      const able = await this.#ableToRead()
      const chosen = (await this.#sticky(able)) ?? (await this.#free(able)) ?? (await this.#inLine(able))
      if (chosen === 'again') continue
      return chosen ?? this.nobody()
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
    const isQuick = ({ condition }: Candidate) => (condition.firstEventMs ?? 0) < limitMs
    const able = await this.#ableToRead('always')
    await this.#askOfAll(able)
    const best = leastLoaded(this.#aged(this.#now(able).list(['free'], this.#except())).filter(isQuick), this.#parts.chance)
    return best && this.#chosen(best)
  }

  /** Nothing was sent to it: its slot and its rate are others' again, and it may still be asked. */
  async giveBack({ server: { account }, slot }: Chosen): Promise<void> {
    this.#tried.delete(account.id)
    await slot[Symbol.asyncDispose]()
    await this.#giveBackRates(account)
  }

  /** When and why nobody can be asked, whoever was tried. */
  async nobody(): Promise<Nobody> {
    const { clock, coordinator } = this.#parts
    const { servers } = this.#all()
    const conditions = await coordinator.conditions(servers.map(({ account }) => account.id))
    const candidates = servers.map((server, i) => ({ ...server, condition: this.#forThisCall(server, conditions[i]!) }))
    const nowMs = clock.nowMs()
    const ends = candidates.map(candidate => restsUntilMs(candidate, nowMs)).filter(end => end !== undefined)
    const why =
      candidates.length === 0 ? 'the account that holds what this call refers to no longer serves this key' : whyNot(candidates, nowMs)
    return { why, restEndsInMs: ends.length === 0 ? undefined : Math.min(...ends) - nowMs }
  }

  /** As the operator has them now: while a call stood in line an account may have got another key, or gone. */
  #all(): Choosable {
    const { offer, boundTo } = this.#admission
    const all = offer.choosable.as(this.#parts.directory.snapshot().accounts)
    return boundTo === undefined ? all : all.only(boundTo)
  }

  #now(choosable: Choosable): ChoosableNow {
    const { coordinator, clock } = this.#parts
    return choosable.at(coordinator.known(), clock.nowMs())
  }

  /** The session and what others know of the accounts, so that a coordinator that is far away is waited for once. */
  async #askAtOnce(): Promise<void> {
    const { coordinator } = this.#parts
    if (this.sessionKey === undefined || this.#sessionAsked || coordinator.known().isAll) return
    const all = this.#all()
    await Promise.all([this.#sessionAccount(this.sessionKey), all.servers.length <= atOnceMax ? this.#askOfAll(all) : undefined])
  }

  /** What other processes know of all of them. Worth its cost only where those that are known to be free will not do. */
  async #askOfAll({ servers }: Choosable): Promise<void> {
    const { coordinator } = this.#parts
    if (!coordinator.known().isAll) await coordinator.conditions(servers.map(({ account }) => account.id))
  }

  /** Those that this call does not ask: they had their turn, or have no room by their own rates. */
  #except(): ReadonlySet<string> {
    if (this.#overRate === undefined) return this.#tried
    const nowMs = this.#parts.clock.nowMs()
    for (const [id, untilMs] of this.#overRate) if (untilMs <= nowMs) this.#overRate.delete(id)
    return new Set([...this.#tried, ...this.#overRate.keys()])
  }

  #exceptGaveNone(): ReadonlySet<string> {
    return this.#gaveNone === undefined ? this.#except() : new Set([...this.#except(), ...this.#gaveNone])
  }

  #forThisCall({ account }: Server, condition: Condition): Condition {
    const untilMs = this.#overRate?.get(account.id) ?? 0
    return untilMs > condition.restingUntilMs ? { ...condition, restingUntilMs: untilMs } : condition
  }

  /** The account whose prompt cache is warm; if it is only full, a short wait for it is worth the while. */
  async #sticky(able: Choosable): Promise<Chosen | undefined> {
    if (this.#stickyAsked) return undefined
    this.#stickyAsked = true
    const { settings, clock, chance, coordinator } = this.#parts
    const accountId = await this.#stickyAccount()
    if (accountId === undefined || this.#except().has(accountId)) return undefined
    await coordinator.conditions([accountId])
    const now = this.#now(able)
    const warm = now.find(accountId)
    if (warm === undefined) return undefined
    // By what was measured, however long ago: aged, whoever idles would look ever faster than the one that works.
    const faster = isSlow(warm)
      ? leastLoaded(muchFaster(warm, now.list(['free'], new Set([...this.#except(), accountId]))), chance)
      : undefined
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
  #stickyAccount(): Soon<string | undefined> {
    const isFree = this.#admission.boundTo === undefined
    return this.sessionKey !== undefined && isFree ? this.#sessionAccount(this.sessionKey) : undefined
  }

  /** The account that the session is bound to, if it is known. Asked once in a call. */
  #sessionAccount(key: string): Soon<string | undefined> {
    if (this.#sessionAsked) return this.#session
    const { coordinator, log, settings } = this.#parts
    this.#sessionAsked = true
    this.#session = beside('finding a session', log, () => coordinator.session(key, settings.sessionTtlMs))
    return this.#session
  }

  /**
   * Encrypted content is read by the organisation that made it, as far as anybody knows: the one that the session is at. While an account
   * there can be used, though it be full, the call stays; only else it may go where its content cannot be read, unless `always`.
   */
  async #ableToRead(stays: 'while usable' | 'always' = 'while usable'): Promise<Choosable> {
    const all = this.#all()
    if (!this.#admission.call.facts.hasEncryptedContent || this.sessionKey === undefined) return all
    const homeId = await this.#sessionAccount(this.sessionKey)
    const home = this.#parts.directory.snapshot().accounts.get(homeId ?? '')
    if (home === undefined) return all
    const able = all.within(organizationOf(home))
    if (stays === 'always') return able
    await this.#askOfAll(able)
    return this.#now(able).count(['free', 'full', 'probe'], this.#except()) > 0 ? able : all
  }

  #aged(measured: readonly Candidate[]): Candidate[] {
    const { clock, settings } = this.#parts
    const nowMs = clock.nowMs()
    return measured.map(({ account, model, condition }) => ({
      account,
      model,
      condition: aged(condition, nowMs, settings.recordHalfLifeMs),
    }))
  }

  async #free(able: Choosable): Promise<Chosen | 'again' | undefined> {
    const { coordinator, clock, chance } = this.#parts
    const draw = () => this.#now(able).draw(chance, this.#exceptGaveNone())
    let drawn = draw()
    if (drawn.length === 0) {
      await this.#askOfAll(able)
      drawn = draw()
    }
    if (drawn.length === 0) return this.#leastBad(able)
    const conditions = await coordinator.conditions(drawn.map(({ account }) => account.id))
    const nowMs = clock.nowMs()
    const ready = this.#aged(drawn.map((one, i) => ({ ...one, condition: conditions[i]! }))).filter(isReady(nowMs))
    const best = leastOf(ready)
    // Others knew better of all of these, or another call was quicker: look again.
    return (best && (await this.#take(best, readinessOf(best, nowMs)))) ?? 'again'
  }

  /** Only when all of the pool is out by circuit: beside one that is well, an open circuit is left alone. */
  async #leastBad(able: Choosable): Promise<Chosen | 'again' | undefined> {
    if (this.#now(able).count(['circuit'], this.#except()) === 0) return undefined
    const all = this.#all()
    await this.#askOfAll(all)
    const out = this.#now(all).count(['circuit', 'probe', 'disabled'], nobodyExcepted)
    if ((this.#overRate?.size ?? 0) > 0 || out < all.servers.length) return undefined
    const best = leastBad(this.#aged(this.#now(able).list(['circuit'], this.#exceptGaveNone()).filter(hasRoom)), this.#parts.chance)
    return best && ((await this.#take(best, 'circuit')) ?? 'again')
  }

  async #inLine(able: Choosable): Promise<Chosen | 'again' | undefined> {
    const nowMs = this.#parts.clock.nowMs()
    const now = this.#now(able)
    // One that is free even now gave no slot when it was asked: its line knows when it will.
    if (now.count(['free', 'full'], this.#except()) === 0) return undefined
    // The line knows when an account may be used again, but neither models nor what this call would need.
    const waking = now.list(['free', 'full', 'resting', 'circuit'], this.#except()).filter(candidate => !restsFromModel(candidate, nowMs))
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
  #chosen(server: Server): Soon<Chosen | undefined> {
    const taking = this.#parts.coordinator.take(this.#limitOf(server.account))
    return taking instanceof Promise ? taking.then(slot => this.#took(server, slot)) : this.#took(server, taking)
  }

  #took({ account, model }: Server, slot: Slot | OverRate | undefined): Chosen | undefined {
    if (isOverRate(slot)) return this.#noteOverRate(account.id, slot)
    if (slot === undefined) this.#gaveNone = (this.#gaveNone ?? new Set()).add(account.id)
    return slot && this.#tries({ account, model }, sureSlot(slot, this.#parts.log))
  }

  #tries(server: Server, slot: Slot): Chosen {
    this.#tried.add(server.account.id)
    return { server, slot }
  }

  #limitOf(account: Account): AccountLimit {
    return { accountId: account.id, slots: account.concurrency, meters: metersOfAccount(account, this.#admission.call.inputTokens) }
  }

  /** An account's own rates steer the choice: one that has no room this minute is not there for this call. */
  #noteOverRate(accountId: string, { retryAfterMs }: OverRate): undefined {
    this.#overRate = (this.#overRate ?? new Map()).set(accountId, this.#parts.clock.nowMs() + retryAfterMs)
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
    const { leaving } = this.#client
    using waiting = new Patience({ leaving, closing, clock, ms: isShort ? ms : leftMs, tooLong: () => tooLong })
    const { principal, offer } = this.#admission
    const accounts = candidates.map(({ account }) => this.#limitOf(account))
    const entry = { pool: offer.group.id, userId: principal.user.id, accounts, waitingMax: settings.poolWaitingMax }
    const startedMs = clock.elapsedMs()
    try {
      const turn = await coordinator.wait(only ? { ...entry, only } : entry, waiting)
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
    const server = this.#tried.has(waitedFor.id) ? undefined : this.#now(this.#all()).find(waitedFor.id)
    if (server === undefined || server.account.disabled) return 'again'
    scope.move()
    return this.#tries(server, slot)
  }
}

/** Of larger pools only those are asked that come into question, once the session is known. */
const atOnceMax = 64

const nobodyExcepted: ReadonlySet<string> = new Set()

function isReady(nowMs: number): (candidate: Candidate) => boolean {
  return candidate => ['free', 'probe'].includes(readinessOf(candidate, nowMs))
}
