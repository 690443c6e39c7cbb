import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { silentLog } from '../lib/log.ts'
import { type Database, type Step, statement } from '../storage/database.ts'
import { type AtHand, type AtHandParts, openAtHand } from './at-hand.ts'
import { heldCall, manualClock, rowEnds, settledRowStep, subscriptionSteps, userSteps } from './books.fixture.ts'
import { type Command, commandsUpTo, lineOf, type Payer } from './commands.fixture.ts'
import { type Held, type Ledger, openLedger } from './ledger.ts'
import { answerOf, leaseMs, type Model, openModel, sumsOf } from './model.fixture.ts'
import { openPurses, type Purses } from './purses.ts'
import { shortSettleSteps } from './short-way.ts'
import { expireSteps, type Funds, type HoldRequest, lateSettleSteps, readSettled, settleSteps } from './steps.ts'
import { subscriptionFunds } from './subscription.ts'

/** The property of T1: no sequence of commands makes the ledger answer, or its books say, other than the model. */
export interface Trial {
  readonly database: Database
  /** Worlds of one database have names of their own, each below this one. */
  readonly name: string
  readonly seed: number
  readonly runs: number
  readonly commandsMax: number
  /** Whether each world is alone in its books, so that the ledger itself may look for what is due, and all of it can be checked. */
  readonly isAlone?: boolean
  /** Where a failure was met before, as it was printed: fast-check begins there. */
  readonly path?: string
  /** What trials that run beside each other share: when one has found something, the others have nothing more to look for. */
  readonly shared?: { foundBy?: string }
  /** Whether a failure is told as it was met: making it shorter takes many more runs. Default: made short. */
  readonly asMet?: boolean
  /** Where holds are granted at hand. Then sums are looked at only now and then, because whoever looks has the books told of every hold. */
  readonly files?: Pick<AtHandParts<Step>, 'slips' | 'daybook'>
  /** After each run that went well. */
  readonly afterRun?: (commands: number) => Promise<void> | void
}

/** The shrunk case. */
export interface Found {
  readonly lines: readonly string[]
  readonly why: string
  readonly seed: number
  readonly path: string
}

/** Tries random sequences, one after another; undefined when all of them went well. */
export async function tryCommands(trial: Trial): Promise<Found | undefined> {
  const { name, runs: numRuns, seed, path, shared = {} } = trial
  let worlds = 0
  const property = fc.asyncProperty(commandsUpTo(trial.commandsMax), async commands => {
    if (shared.foundBy !== undefined && shared.foundBy !== name) return
    const world = await openWorld(trial, `${name}-${worlds++}`)
    try {
      for (const each of commands) await world.run(each)
      await world.end()
    } catch (error) {
      shared.foundBy ??= name
      if (shared.foundBy === name) throw error
    }
    await trial.afterRun?.(commands.length)
  })
  const { failed, counterexample, counterexamplePath, errorInstance } = await fc.check(property, {
    numRuns,
    seed,
    endOnFailure: trial.asMet ?? false,
    ...(path === undefined ? {} : { path }),
  })
  if (!failed) return undefined
  const why = errorInstance instanceof Error ? errorInstance.message : String(errorInstance)
  return { lines: counterexample![0].map(lineOf), why, seed, path: counterexamplePath! }
}

/** For a person, who wants to see it and then to see it again. */
export function tellFound({ lines, why, seed, path }: Found): string {
  return `the ledger and its model part after\n  ${lines.join('\n  ')}\n${why}\n(seed ${seed}, path ${path})`
}

interface World {
  readonly name: string
  readonly clock: ReturnType<typeof manualClock>
  readonly ledger: Ledger
  readonly database: Database
  readonly model: Model
  readonly isAlone: boolean
  /** What a gateway remembers of each hold. */
  readonly granted: Map<string, bigint>
  readonly purses: Purses
  readonly atHand: AtHand<Step> | undefined
  /** Calls of which the books never heard. */
  readonly letGo: Set<number>
}

/** A user of that name with a wallet, a subscription and a lease, real and modelled, on one clock. */
async function openWorld({ database: books, isAlone = false, files }: Trial, name: string) {
  const terms = { id: name, startsAtMs, endsAtMs: startsAtMs * 2, dailyLimit: 200n, weeklyLimit: 500n, monthlyLimit: 900n }
  const clock = manualClock(startsAtMs)
  const purses = openPurses(clock, Number.POSITIVE_INFINITY)
  const atHand = files && openAtHand({ books, ...files, ends, purses, clock, log: silentLog, settleWithinMs: 60_000 })
  const database = atHand?.database ?? books
  const ledger = openLedger(database, clock, { spending: atHand?.spending })
  const begun = { granted: new Map(), letGo: new Set<number>() }
  const world: World = { name, clock, ledger, database, model: openModel(terms), isAlone, purses, atHand, ...begun }
  const opened = database.commit([...userSteps(name), ...subscriptionSteps(name, terms)], 'ordered')
  await Promise.all([opened, ledger.renewLease(name, leaseMs)])
  return {
    async run(each: Command): Promise<void> {
      if ('call' in each && world.letGo.has(each.call)) return
      // A hold is asked for at hand before anything else is asked of its call.
      if ('call' in each && each.op !== 'hold' && !world.granted.has(idOf(world, each.call))) world.granted.set(idOf(world, each.call), 0n)
      if (atHand !== undefined && !looks.has(each.op)) return mustBe(each, 'answers', await real(world, each), answerOf(world.model, each))
      const asked = real(world, each)
      // Whatever writes with the first thing that it asks, what is read behind it sees without waiting.
      const reading = asksTwice.has(each.op) ? asked.then(() => readSums(world)) : readSums(world)
      const [answer, sums] = await Promise.all([asked, reading])
      mustBe(each, 'answers', answer, answerOf(world.model, each))
      mustBe(each, 'leaves', sums, sumsOf(world.model))
    },
    async end(): Promise<void> {
      await atHand?.close()
      mustBe(undefined, 'the end leaves', await readSums(world), sumsOf(world.model))
      if (!isAlone) return
      mustBe(undefined, 'check() says', await ledger.check(), [])
      // The next world must not find anything of this one due.
      await Promise.all([...world.model.calls.keys()].map(call => ledger.release(idOf(world, call), fundsOfCall(world, call, 'wallet'))))
    },
  }
}

/** An end is the call's row. */
const ends: AtHandParts<Step>['ends'] = {
  ...rowEnds,
  refused: (_, cause) => Promise.reject(cause),
}

/** With holds at hand, whoever looks after these finds what a gateway's calls have left between them. */
const looks: ReadonlySet<Command['op']> = new Set(['credit', 'adjust', 'sleep', 'renew'])

const asksTwice: ReadonlySet<Command['op']> = new Set(['hold', 'settle', 'refund', 'expire'])

const startsAtMs = Date.UTC(2026, 9, 1)

function mustBe(each: Command | undefined, verb: string, found: unknown, wanted: unknown): void {
  if (isDeepStrictEqual(found, wanted)) return
  throw new Error(`${each === undefined ? '' : lineOf(each)} ${verb} ${text(found)}, where it must be ${text(wanted)}`.trim())
}

function text(value: unknown): string {
  if (value instanceof Error) return value.message
  return JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? part.toString() : part)) ?? 'nothing'
}

async function real(world: World, each: Command): Promise<unknown> {
  const { name, clock, ledger } = world
  switch (each.op) {
    case 'credit':
    case 'debit':
    case 'adjust':
      return ledger[each.op]({ walletId: name, amount: each.amount, reference: `${name}-${each.reference}`, reason: null, author: null })
    case 'hold':
      return hold(world, each)
    case 'extend':
      return ledger.extend(idOf(world, each.call), fundsOfCall(world, each.call, 'wallet'), each.to)
    case 'settle':
    case 'late':
      return settle(world, each)
    case 'release':
      if (world.atHand?.letGo(idOf(world, each.call))) return void world.letGo.add(each.call)
      return ledger.release(idOf(world, each.call), fundsOfCall(world, each.call, 'wallet'))
    case 'refund': {
      const amount = each.amount === 0n ? undefined : each.amount
      return ledger.refund({ callId: idOf(world, each.call), amount, reason: 'asked', author: 'model' })
    }
    case 'sleep':
      return clock.advance(each.seconds * 1000)
    case 'renew':
      return ledger.renewLease(name, leaseMs)
    case 'expire':
      return expire(world)
  }
}

async function hold(world: World, { call, payer, floor, more, half }: Extract<Command, { op: 'hold' }>): Promise<unknown> {
  const size = { floor, want: floor + more, halfOfFree: half }
  const asked = { ...heldCall(beganAt(world, call), world.name), callId: idOf(world, call), funds: fundsOfCall(world, call, payer) }
  try {
    const answer = await placed(world, { ...asked, ...size })
    if ('granted' in answer) world.granted.set(asked.callId, answer.granted)
    return answer
  } catch (error) {
    if (error instanceof Error && error.message.includes('has ended')) return 'ended'
    throw error
  }
}

/** As a gateway asks for it: at hand if it can, and once. */
async function placed({ ledger, purses, atHand, granted }: World, request: HoldRequest): Promise<Held> {
  const { callId, funds, floor, want } = request
  if (funds.kind === 'wallet' && !purses.has(funds.walletId, floor)) {
    const saw = purses.look(funds.walletId)
    const found = await ledger.free(funds.walletId)
    saw(found && found.balance - found.held)
  }
  if (!granted.has(callId)) {
    granted.set(callId, 0n)
    if (await atHand?.hold(request)) return { granted: want }
  }
  const answered = funds.kind === 'wallet' ? purses.ask(funds.walletId, want) : undefined
  const held = await ledger.hold(request)
  answered?.('granted' in held ? held.granted : 0n)
  return held
}

async function settle(world: World, each: Extract<Command, { op: 'settle' | 'late' }>): Promise<unknown> {
  const callId = idOf(world, each.call)
  const funds = fundsOfCall(world, each.call, each.op === 'late' ? each.payer : 'wallet')
  const settling = { callId, cost: each.cost, atMs: world.clock.nowMs(), funds, entryId: `entry-${callId}` }
  const call = heldCall(beganAt(world, each.call), world.name)
  const row = settledRowStep(callId, each.cost)
  if (each.op === 'late') return readSettled(await world.database.commit([...lateSettleSteps(settling, call), row], 'ordered'), each.cost)
  // As a gateway does, which knows what it was granted, and not that others have extended it.
  const atHand = world.atHand?.settle(settling, row)
  if (atHand !== undefined) return atHand.then(() => ({ charged: each.cost, isLate: false }))
  const short = shortSettleSteps(settling, world.granted.get(callId) ?? 0n)
  const tried = short && (await world.database.commit([...short, row], 'ordered'))
  if (tried?.done) return readSettled(tried, each.cost)
  return readSettled(await world.database.commit([...settleSteps(settling), row], 'ordered'), each.cost)
}

/** Worlds that share their books have clocks of their own: to one, the leases of another would all be over. */
async function expire(world: World): Promise<number> {
  if (world.isAlone) return world.ledger.expireHolds()
  const ends = [...world.model.calls.keys()].map(call => {
    const steps = expireSteps(idOf(world, call), fundsOfCall(world, call, 'wallet'), world.clock.nowMs())
    return world.database.commit(steps, 'ordered')
  })
  return (await Promise.all(ends)).filter(({ done }) => done).length
}

function idOf({ name }: World, call: number): string {
  return `${name}-r${call}`
}

/** Who pays a call is fixed by the first word of it. */
function fundsOfCall(world: World, call: number, payer: Payer): Funds {
  const pays = world.model.calls.get(call)?.payer ?? payer
  return pays === 'wallet' ? { kind: 'wallet', walletId: world.name } : subscriptionFunds(world.model.terms, beganAt(world, call))
}

function beganAt({ model, clock }: World, call: number): number {
  return model.calls.get(call)?.beganAtMs ?? clock.nowMs()
}

/** In one question: a wallet and a subscription have the name of their world. */
async function readSums({ database, name }: World): Promise<string[]> {
  const rows = await database.read(selectSums, [name])
  const windows = rows.filter(row => row.kind !== null).map(row => `${row.kind} ${row.starts_at}: ${row.used} ${row.window_held}`)
  return [`wallet: ${rows[0]!.balance} ${rows[0]!.held}`, ...windows.sort()]
}

const selectSums = statement(`select balance, wallets.held, kind, starts_at, used, windows.held as window_held
  from wallets left join windows on subscription_id = wallets.id and used + windows.held > 0 where wallets.id = $1`)
