import { Fault } from '../lib/fault.ts'
import { Scope } from '../lib/scope.ts'
import { overAtOnce } from '../lib/soon.ts'
import { admit } from './admit.ts'
import { authenticate } from './authenticate.ts'
import { bind } from './bind.ts'
import { isOfALoop } from './brake.ts'
import type { Client } from './client.ts'
import { conclude } from './conclude.ts'
import { forward } from './forward.ts'
import type { Gateway } from './gateway.ts'
import { type Call, readCall } from './read-call.ts'
import { newReceipt, type Receipt } from './receipt.ts'
import { type Outcome, relay } from './relay.ts'
import { rowOf, tell } from './row.ts'

/**
 * One call, from the first byte in to the last line in the books. Never rejects: whatever happens is told, and recorded.
 * Resolves when the client has its last byte, or is gone.
 */
export async function handle(client: Client, path: string, gateway: Gateway): Promise<void> {
  const receipt = newReceipt(client, path, gateway.clock)
  const taken = new Scope() // Gives back what the call takes, the last first: `await using`, without the 3 µs that it costs every call.
  try {
    try {
      const known = authenticate(client, receipt, gateway)
      const principal = known instanceof Promise ? await known : known
      gateway.brake.check(principal.key.id)
      const read = readCall(client, principal, receipt, gateway)
      const call = taken.use(read instanceof Promise ? await read : read)
      if (call.facts.stream) client.commentEvery(gateway.settings.waitingCommentMs)
      const binding = bind(call, principal, gateway)
      const bound = binding instanceof Promise ? await binding : binding
      const admission = taken.use(await admit({ principal, call, bound, receipt }, client, gateway)) // the user's slot, then the hold
      const reply = taken.use(await forward(admission, client, gateway)) // attempts, each in its account's slot
      call.body.lend() // Nobody else will be asked: an answer may take minutes, and its body is hardly needed for it.
      const relaying = relay(reply, admission, client, gateway)
      const outcome = relaying instanceof Promise ? await relaying : relaying // all but the last bytes; the account's slot is back
      try {
        await conclude(outcome, admission, 'heard', gateway) // durable
        learn(outcome, principal.key.id, gateway)
      } finally {
        finish(outcome, call, client) // A failure in our books never spoils an answer already given.
      }
    } finally {
      const givingBack = taken[Symbol.asyncDispose]()
      if (givingBack !== overAtOnce) await givingBack
    }
  } catch (error) {
    refuse(Fault.from(error), { client, receipt, gateway })
  }
  const { over } = client
  if (over !== undefined) await over
}

/** The last bytes leave. */
export function finish({ last, status }: Outcome, { facts }: Call, client: Client): void {
  if (client.hasLeft) return
  if (last.kind === 'body') client.answer(status, last.headers, last.body, facts.model)
  else if (last.kind === 'events') client.finishStream(last.events)
  else client.cut()
}

/** What the brake makes of it. An answer that broke off, or that says it failed, says nothing of the client. */
export function learn({ reply, facts, status }: Outcome, keyId: string, { brake }: Pick<Gateway, 'brake'>): void {
  if (reply.beginning.kind === 'refusal') brake.refused(keyId, `the upstream answered ${status}`)
  else if (facts !== undefined && facts.status !== 'failed') brake.served(keyId)
}

/** Tells it, and writes the row of a call that came to nothing. */
export function refuse(fault: Fault, { client, receipt, gateway }: { client: Client; receipt: Receipt; gateway: Gateway }): void {
  client.refuse(fault, receipt.facts?.model ?? '')
  // Somebody must find out why; the client is told no more than its table says.
  if (fault.fault === 'unforeseen') gateway.log.error({ call: receipt.id, err: fault.cause }, 'a call failed in an unforeseen way')
  else if (fault.fault === 'books_away') gateway.log.warn({ call: receipt.id, err: fault.cause }, 'the books are away')
  if (receipt.principal === undefined) return gateway.metrics.unauthenticated.inc({ fault: fault.fault })
  if (receipt.isBooked) return
  if (fault.fault === 'looping') {
    gateway.metrics.braked.inc()
    if (!gateway.brake.isToldInBooks(receipt.principal.key.id)) return
  }
  if (isOfALoop(fault)) gateway.brake.refused(receipt.principal.key.id, fault.message)
  const status = client.statusTold || fault.entry.status
  const ended = fault.fault === 'client_left' ? 'client_left' : 'refused'
  const row = rowOf(receipt, { status, ended, fault: fault.fault }, gateway)
  tell(row, receipt.principal?.user.email, gateway)
  gateway.recorder.refused(row, receipt.attempts)
}
