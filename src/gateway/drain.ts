import type { Slot } from '../coordination/coordinator.ts'
import type { Clock, Timer } from '../lib/clock.ts'
import { Scope } from '../lib/scope.ts'
import { afterNothing } from '../upstreams/rest.ts'
import type { Admission } from './admit.ts'
import { conclude } from './conclude.ts'
import { estimatedInput } from './estimate.ts'
import { Answering, abandon, changeCondition, closeRow, judge, type Reply, type Tried } from './forward.ts'
import type { Gateway } from './gateway.ts'
import { type Outcome, readUnheard } from './relay.ts'
import { rowOf, tell } from './row.ts'
import { settle } from './settle.ts'

export interface DrainSettings {
  readonly drainMs: number
  readonly drainsMax: number
}

/**
 * Where answers go whose client has left: they are read to their end, to learn what they cost. It holds the attempt, the
 * account's slot and the money; the user's own slot is free. Bounded in time and number: the oldest is cut first.
 */
export interface Drain {
  /** A call that was sent and not answered yet. */
  takeUnanswered(tried: Tried & { readonly slot: Slot }, admission: Admission): void
  /** An answer that was being relayed. */
  takeRunning(running: { readonly reply: Reply; readonly running: Promise<Outcome> }, admission: Admission): void
  readonly count: number
  /** Resolves when nothing is left to read. */
  idle(): Promise<void>
  /** Cuts what is left, and waits until all of it is settled. */
  close(): Promise<void>
}

interface Draining {
  readonly userId: string
  /** Ends it now; what was read until then is settled. */
  readonly cut: () => void
  isCut: boolean
  readonly timer: Timer
  readonly done: Promise<void>
}

export function openDrain(settings: DrainSettings, clock: Clock, gateway: () => Gateway): Drain {
  const draining = new Set<Draining>()

  function take(admission: Admission, abort: () => void, run: () => Promise<void>): void {
    const { principal, offer, call } = admission
    makeRoom(draining, principal, settings.drainsMax)
    call.handOver()
    call.body.lend()
    const done = run()
      .catch(error => unsettled(error, admission, gateway()))
      .finally(() => {
        draining.delete(entry)
        entry.timer[Symbol.dispose]()
        call.body[Symbol.dispose]()
      })
    const cut = () => {
      entry.isCut = true
      abort()
    }
    const entry: Draining = { userId: principal.user.id, cut, isCut: false, timer: clock.after(settings.drainMs, cut), done }
    draining.add(entry)
    // What goes on in the background is not ended by ending this; only its id would never be known.
    if (offer.group.onClientLeft === 'abort' && !call.facts.background) cut()
  }

  return {
    takeUnanswered(tried, admission) {
      admission.handOver()
      take(
        admission,
        () => tried.attempt.abort(),
        () => drainUnanswered(tried, admission, gateway()),
      )
    },
    takeRunning({ reply, running }, admission) {
      reply.handOver()
      admission.handOver()
      take(
        admission,
        () => reply.attempt.abort(),
        async () => {
          const outcome = await running
          await conclude(outcome, admission, 'client_left', gateway())
        },
      )
    },
    get count() {
      return draining.size
    },
    async idle() {
      while (draining.size > 0) await Promise.all([...draining].map(({ done }) => done))
    },
    async close() {
      for (const { cut } of draining) cut()
      await this.idle()
    },
  }
}

/** For one more of this user's: the oldest of theirs goes first, then the oldest of all. */
function makeRoom(draining: ReadonlySet<Draining>, { user }: Admission['principal'], drainsMax: number): void {
  const reading = [...draining].filter(({ isCut }) => !isCut)
  const ofUser = reading.filter(({ userId }) => userId === user.id)
  if (ofUser.length >= Math.max(user.concurrency, 1)) ofUser[0]!.cut()
  else if (reading.length >= drainsMax) reading[0]!.cut()
}

/** No further attempt is begun: nobody waits for the answer any more. */
async function drainUnanswered(tried: Tried & { readonly slot: Slot }, admission: Admission, gateway: Gateway): Promise<void> {
  const { attempt, server, slot, row, startedMs } = tried
  await using scope = new Scope()
  scope.use(slot)
  scope.defer(async () => abandon(attempt, gateway))
  const beginning = await attempt.beginning
  if (beginning.kind === 'fault') {
    const { fault } = beginning
    await slot[Symbol.asyncDispose]()
    if (fault.name === 'aborted') {
      closeRow(row, attempt, fault, gateway.clock.elapsedMs() - startedMs)
      // Whether the upstream charges for what it was sent and then not asked for, nobody says. The caller pays for answers only.
      gateway.metrics.unbilledInputTokens.inc(estimatedInput(admission))
      await changeCondition(server, condition => afterNothing(condition, row.beganAtMs), gateway)
    } else {
      await judge(beginning, tried, gateway)
    }
    return settle(undefined, admission, 'client_left', gateway)
  }
  await judge(beginning, tried, gateway)
  const reply = new Answering({ attempt, beginning, server, slot, row }, gateway)
  const outcome = await readUnheard(reply, admission, gateway)
  await conclude({ ...outcome, status: statusOfNobody }, admission, 'client_left', gateway)
}

/** What nginx writes down for a client that left before any status was told. */
const statusOfNobody = 499

/** A mistake of ours. The money must not stay aside for it, and the call has its row all the same. */
async function unsettled(error: unknown, { receipt, hold }: Admission, gateway: Gateway): Promise<void> {
  gateway.log.error({ call: receipt.id, err: error }, 'a drained answer could not be settled')
  const row = rowOf(receipt, { status: statusOfNobody, ended: 'client_left', fault: 'unforeseen' }, gateway)
  tell(row, receipt.principal?.user.email, gateway)
  await gateway.books.end({ callId: receipt.id, funds: hold.funds, call: hold.call, row, attempts: receipt.attempts })
}
