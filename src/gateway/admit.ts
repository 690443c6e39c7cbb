import type { CallerLimits, Meter, Slot } from '../coordination/coordinator.ts'
import { givenBack, rateExceeded } from '../coordination/meters.ts'
import { runningSubscription } from '../directory/principals.ts'
import type { Principal } from '../directory/snapshot.ts'
import { type HoldSize, outputCeilingFor, sizeHold } from '../ledger/hold.ts'
import type { PriceVersion } from '../ledger/price.ts'
import type { Funds, HeldCall, HoldRequest } from '../ledger/steps.ts'
import { subscriptionFunds } from '../ledger/subscription.ts'
import { Fault } from '../lib/fault.ts'
import { overAtOnce, type Soon } from '../lib/soon.ts'
import { authenticateAgain } from './authenticate.ts'
import { beside, sureSlot } from './beside.ts'
import type { Bound } from './bind.ts'
import { orBooksAway } from './books-away.ts'
import type { Client } from './client.ts'
import type { Gateway } from './gateway.ts'
import { metersOfCaller } from './meters.ts'
import type { Offer } from './offers.ts'
import { Patience } from './patience.ts'
import type { Call } from './read-call.ts'
import { keptCharsMax, type Receipt } from './receipt.ts'

/** Leave to proceed: a slot of the caller's, and money set aside. Disposing gives back what was not handed on. */
export interface Admission extends AsyncDisposable {
  readonly principal: Principal
  readonly call: Call
  readonly receipt: Receipt
  readonly offer: Offer
  /** What is steered into a running response makes it another. */
  hold: Hold
  /** The only account that may take the call, when it refers to something that only that one has. */
  readonly boundTo: string | undefined
  /** Tokens of the stored context that the call takes up again. Of what succeeds a response they are known when that has ended. */
  contextTokens: number
  /** What `max_output_tokens` must be lowered to, or written as. */
  readonly outputCeiling: number | undefined
  /** All waits of the call after its user's slot end then, in the clock's elapsed milliseconds. */
  readonly waitUntilMs: number
  /** The hold is somebody else's to end: settled, or taken by the drain. */
  handOver(): void
}

/** Money set aside, and what is needed to end it. */
export interface Hold {
  readonly funds: Funds
  readonly call: HeldCall
  /** What it was reckoned from, should more be needed while the call runs. */
  readonly size: HoldSize
  readonly meters: readonly Meter[]
}

export type Asking = { readonly principal: Principal; readonly call: Call; readonly bound: Bound; readonly receipt: Receipt }

type Parts = Pick<
  Gateway,
  'atHand' | 'coordinator' | 'purses' | 'ledger' | 'books' | 'directory' | 'clock' | 'settings' | 'closing' | 'leaseId' | 'log'
>

/** First a look at the money, then the line, then the slot, then the hold: while one waits, nothing of theirs is set aside. */
export async function admit(asking: Asking, client: Client, gateway: Parts): Promise<Admission> {
  const { call, receipt } = asking
  const looked = affordableAtOnce(asking, gateway) ?? (await firstAffordable(asking, gateway))
  receipt.groupId = looked.offer.group.id
  const meters = metersOfCaller(asking.principal, call.inputTokens)
  const entering = standInLine(asking, meters, client, gateway)
  const slot = entering instanceof Promise ? await entering : entering
  const taken = new Taken(slot, meters, { client, receipt, gateway })
  try {
    if (client.hasLeft) throw client.left.reason
    const again = authenticateAgain(client, gateway, asking.principal)
    const principal = again instanceof Promise ? await again : again
    const isAsLooked = principal === asking.principal
    const asked = isAsLooked ? asking : { ...asking, principal }
    const request = isAsLooked ? holdRequest(asking, looked, gateway) : undefined
    const holding = request && gateway.atHand?.hold(request)
    const isAtHand = holding instanceof Promise ? await holding : holding
    const held =
      request !== undefined && isAtHand
        ? { plan: looked, request, granted: request.want }
        : await holdInFirst(asked, isAsLooked, looked, gateway)
    taken.hold(held.request)
    return new Admitted(asked, held, taken, gateway)
  } catch (error) {
    await taken[Symbol.asyncDispose]()
    throw error
  }
}

/** What a call has taken: its caller's slot, their rates, and the hold while it is not somebody else's to end. */
class Taken implements AsyncDisposable {
  readonly meters: readonly Meter[]
  readonly #slot: Slot
  readonly #receipt: Receipt
  readonly #gateway: Pick<Gateway, 'books' | 'coordinator' | 'log'>
  #held: HoldRequest | undefined
  #isGivenBack = false

  constructor(slot: Slot, meters: readonly Meter[], { client, receipt, gateway }: Standing) {
    this.meters = meters
    this.#slot = slot
    this.#receipt = receipt
    this.#gateway = gateway
    // Whoever leaves is gone at once, whatever we are just waiting for. Giving back twice gives back once.
    client.leaving.tell(() => void slot[Symbol.asyncDispose]())
  }

  hold(request: HoldRequest): void {
    this.#held = request
  }

  handOver(): void {
    this.#held = undefined
    this.#receipt.isBooked = true
  }

  [Symbol.asyncDispose](): Promise<void> {
    if (this.#isGivenBack) return overAtOnce
    this.#isGivenBack = true
    // Rejected calls consume no rate: what no upstream was asked for is given back.
    if (this.#receipt.attempts.length === 0 && this.meters.length > 0) return this.#withRates()
    if (this.#held !== undefined) this.#gateway.books.release(this.#held)
    return this.#slot[Symbol.asyncDispose]()
  }

  async #withRates(): Promise<void> {
    const { books, coordinator, log } = this.#gateway
    try {
      if (this.#held !== undefined) books.release(this.#held)
      await beside('giving back rates', log, () => coordinator.correct(givenBack(this.meters)))
    } finally {
      await this.#slot[Symbol.asyncDispose]()
    }
  }
}

class Admitted implements Admission {
  readonly principal: Principal
  readonly call: Call
  readonly receipt: Receipt
  readonly offer: Offer
  hold: Hold
  readonly boundTo: string | undefined
  contextTokens: number
  readonly outputCeiling: number | undefined
  readonly waitUntilMs: number
  readonly #taken: Taken

  constructor({ principal, call, bound, receipt }: Asking, { plan, request, granted }: Held, taken: Taken, gateway: Parts) {
    const { offer, funds, size } = plan
    this.principal = principal
    this.call = call
    this.receipt = receipt
    this.offer = offer
    this.hold = { funds, call: request, size, meters: taken.meters }
    this.boundTo = bound.accountId
    this.contextTokens = bound.contextTokens
    this.outputCeiling = outputCeilingFor(granted, size)
    this.waitUntilMs = gateway.clock.elapsedMs() + gateway.settings.lineTimeoutMs
    this.#taken = taken
    receipt.groupId = offer.group.id
    receipt.held = granted
    receipt.outputLoweredTo = this.outputCeiling ?? null
    receipt.instructionsAdded = call.instructions !== undefined
  }

  handOver(): void {
    this.#taken.handOver()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#taken[Symbol.asyncDispose]()
  }
}

/** A group that can take the call, whose money it takes, and how much. */
interface Plan {
  readonly offer: Offer
  readonly funds: Funds
  readonly size: HoldSize
}

/** The first of the key's groups, where its wallet is known to have enough. */
function affordableAtOnce(asking: Asking, gateway: Parts): Plan | undefined {
  const [first] = asking.bound.offers
  const plan = first && planFor(first, asking, gateway)
  return plan?.funds.kind === 'wallet' && gateway.purses.has(plan.funds.walletId, plan.size.floor) ? plan : undefined
}

/** The first of the key's groups that the caller can pay for now. Nothing is written; the last refusal is what they hear. */
async function firstAffordable(asking: Asking, gateway: Parts): Promise<Plan> {
  let refusal: Fault | undefined
  for (const offer of asking.bound.offers) {
    const plan = planFor(offer, asking, gateway)
    if (plan === undefined) continue
    if (plan.funds.kind === 'wallet' && gateway.purses.has(plan.funds.walletId, plan.size.floor)) return plan
    const shortage = await orBooksAway(() => shortageNow(plan.funds, plan.size.floor, gateway), gateway)
    if (shortage === undefined) return plan
    refusal = shortage
  }
  // A group that is paid by subscription, and the user has none: there is nothing to pay with.
  throw refusal ?? new Fault('money_short')
}

/** Undefined when the caller has nothing to pay this group with, or is not in it any more. */
function planFor(offer: Offer, asking: Asking, gateway: Parts): Plan | undefined {
  if (!asking.principal.groups.some(({ id }) => id === offer.group.id)) return undefined
  const funds = fundsFor(offer, asking)
  return funds && { offer, funds, size: sizeFor(offer, asking, gateway) }
}

function fundsFor({ group }: Offer, { principal, receipt }: Asking): Funds | undefined {
  if (group.pays === 'balance') return { kind: 'wallet', walletId: principal.user.walletId }
  const subscription = runningSubscription(principal, group.id, receipt.beganAtMs)
  return subscription && subscriptionFunds(subscription, receipt.beganAtMs)
}

function sizeFor({ group, kinds }: Offer, { call, bound, receipt }: Asking, { directory, settings }: Parts): HoldSize {
  const { priceBook } = directory.snapshot()
  const inputTokens = call.inputTokens + bound.contextTokens
  const asked = call.facts.serviceTier
  const prices = new Set<PriceVersion>()
  for (const { model, defaultTier } of call.protocol.isFree ? [] : kinds) {
    const tier = asked === undefined || asked === 'auto' ? defaultTier : asked
    const question = { model, tiers: [tier], contextTokens: inputTokens, atMs: receipt.beganAtMs }
    for (const line of priceBook.dearest(question)) prices.add(line)
  }
  const { maxOutputTokens, isCompaction, answers, cachesFor12h } = call.facts
  const ceiling = isCompaction ? inputTokens : maxOutputTokens
  // What cannot be lowered afterwards is held whole, or not begun.
  const limits = isCompaction ? { ...settings, holdFloorTokens: inputTokens } : settings
  return sizeHold({ inputTokens, ceiling, answers, prices: [...prices], multiplier: group.multiplier, cachesFor12h, limits })
}

async function shortageNow(funds: Funds, floor: bigint, { ledger, purses }: Parts): Promise<Fault | undefined> {
  if (funds.kind === 'wallet') {
    const saw = purses.look(funds.walletId)
    const wallet = await ledger.free(funds.walletId).catch((error: unknown) => {
      saw(undefined)
      throw error
    })
    saw(wallet && wallet.balance - wallet.held)
    return wallet === undefined || floor > wallet.balance - wallet.held ? new Fault('money_short') : undefined
  }
  const { room, window } = await ledger.room(funds)
  return room !== null && window !== null && floor > room ? windowUsed(windowNames[window.kind], window.endsAtMs) : undefined
}

/** The rates are spent with the slot: by then nothing but the money can refuse any more. */
function standInLine({ principal, receipt }: Asking, meters: Meters, client: Client, gateway: Parts): Soon<Slot> {
  const { coordinator, clock, settings, closing, log } = gateway
  if (client.hasLeft) throw client.left.reason
  if (closing.aborted) throw closing.reason
  const { user, key } = principal
  const caller = {
    userId: user.id,
    keyId: key.id,
    userSlots: user.concurrency,
    keySlots: key.concurrency ?? 0,
    waitingMax: Math.max(user.concurrency > 0 ? user.concurrency : (key.concurrency ?? 0), 1) + settings.lineExtra,
    meters,
  }
  const patience = new Patience({ leaving: client.leaving, closing, clock, ms: settings.lineTimeoutMs, tooLong: tooLongForUser })
  let entering: Soon<Slot> | undefined
  try {
    entering = coordinator.enter(caller, patience)
    return entering instanceof Promise ? inLine(entering, patience, { client, receipt, gateway }) : sureSlot(entering, log)
  } finally {
    if (!(entering instanceof Promise)) patience[Symbol.dispose]()
  }
}

const tooLongForUser = () => new Fault('line_timeout_user')

async function inLine(entering: Promise<Slot>, patience: Patience, { client, receipt, gateway }: Standing): Promise<Slot> {
  const { clock, directory, log } = gateway
  const startedMs = clock.elapsedMs()
  using _ = directory.onChange(() => void lookAgain(client, patience, gateway))
  try {
    return sureSlot(await entering, log)
  } finally {
    patience[Symbol.dispose]()
    receipt.lineMs = clock.elapsedMs() - startedMs
  }
}

interface Standing {
  readonly client: Client
  readonly receipt: Receipt
  readonly gateway: Parts
}

/** An operator who raises a limit sees the line move, and whoever's key is revoked need not wait to be told. */
async function lookAgain(client: Client, patience: Patience, gateway: Parts): Promise<void> {
  try {
    await gateway.coordinator.renew(limitsOf(await authenticateAgain(client, gateway)))
  } catch (error) {
    // That nobody could tell changes nothing: whose turn comes is looked at again.
    if (error instanceof Fault && error.fault !== 'books_away') patience.giveUp(error)
  }
}

function limitsOf({ user, key }: Principal): CallerLimits {
  return { userId: user.id, keyId: key.id, userSlots: user.concurrency, keySlots: key.concurrency ?? 0 }
}

type Meters = Hold['meters']

/** Throws `rate_exceeded` with what is used up; else all of them were spent. */
export async function spend(meters: Meters, { coordinator }: Pick<Gateway, 'coordinator'>): Promise<void> {
  if (meters.length === 0) return
  const over = await coordinator.spend(meters)
  if (over !== undefined) throw rateExceeded(meters, over)
}

function holdRequest({ principal, call, receipt }: Asking, { offer, funds, size }: Plan, { leaseId }: Parts): HoldRequest {
  return {
    callId: receipt.id,
    funds,
    floor: size.floor,
    want: size.want,
    halfOfFree: size.halfOfFree,
    leaseId,
    userId: principal.user.id,
    keyId: principal.key.id,
    groupId: offer.group.id,
    model: call.facts.model.slice(0, keptCharsMax),
    path: receipt.path,
    address: receipt.address,
    stream: call.facts.stream,
    beganAtMs: receipt.beganAtMs,
  }
}

/** What was there at the first look may be gone after the line: then the next group is asked. */
async function holdInFirst(asking: Asking, isAsLooked: boolean, looked: Plan, gateway: Parts): Promise<Held> {
  const { offers } = asking.bound
  let refusal: Fault | undefined
  for (const offer of offers.slice(offers.indexOf(looked.offer))) {
    const plan = isAsLooked && offer === looked.offer ? looked : planFor(offer, asking, gateway)
    if (plan === undefined) continue
    const held = await placeHold(plan, asking, gateway)
    if ('granted' in held) return held
    refusal = held.refusal
  }
  throw refusal ?? new Fault('money_short')
}

interface Held {
  readonly plan: Plan
  readonly request: HoldRequest
  readonly granted: bigint
}

async function placeHold(plan: Plan, asking: Asking, gateway: Parts): Promise<Held | { readonly refusal: Fault }> {
  const request = holdRequest(asking, plan, gateway)
  const { funds } = plan
  const { purses } = gateway
  const answered = funds.kind === 'wallet' ? purses.ask(funds.walletId, request.want) : undefined
  let placing: ReturnType<typeof gateway.ledger.hold> | undefined
  try {
    const held = await orBooksAway(() => (placing = gateway.ledger.hold(request)), gateway)
    if ('granted' in held) {
      answered?.(held.granted)
      return { plan, request, granted: held.granted }
    }
    answered?.(0n)
    if (funds.kind === 'wallet') purses.forget(funds.walletId)
    return { refusal: held.refused === 'short' ? new Fault('money_short') : windowUsed(held.window, held.resetsAtMs) }
  } catch (error) {
    answered?.(request.want)
    // Whether the hold took effect, or still will, is not known. If it does, nobody else would end it; before, it cannot be.
    const release = () => gateway.books.release(request)
    placing?.then(release, release)
    throw error
  }
}

const windowNames = { daily: 'Daily', weekly: 'Weekly', monthly: 'Monthly' } as const

function windowUsed(window: string, resetsAtMs: number): Fault {
  return new Fault('window_used', { values: { window, resetsAt: new Date(resetsAtMs).toISOString() } })
}
