import type { Principal } from '../directory/snapshot.ts'
import { Fault } from '../lib/fault.ts'
import { authenticate } from './authenticate.ts'
import type { Client } from './client.ts'
import type { Gateway } from './gateway.ts'
import { newReceipt } from './receipt.ts'

/** What is told of a key to whoever holds it. */
export type TellOwn = (principal: Principal, client: Client, gateway: Gateway) => Promise<object> | object

/**
 * A page that a key may read about itself. Asked for as often as a shell draws its prompt: so no line, no slot, no hold and no
 * row, only who asks is checked as for any call. Never rejects.
 */
export function ownPage(tell: TellOwn) {
  return async (client: Client, path: string, gateway: Gateway): Promise<void> => {
    try {
      const principal = await authenticate(client, newReceipt(client, path, gateway.clock), gateway)
      const told = await tell(principal, client, gateway)
      client.answer(200, { 'content-type': 'application/json', 'cache-control': 'no-store' }, Buffer.from(JSON.stringify(told)))
    } catch (error) {
      refuse(Fault.from(error), client, path, gateway)
    }
    await client.over
  }
}

function refuse(fault: Fault, client: Client, path: string, { log, metrics }: Gateway): void {
  if (fault.fault === 'unforeseen') log.error({ call: client.id, path, err: fault.cause }, 'a page about a key could not be told')
  if (fault.entry.status === 401 || fault.entry.status === 403) metrics.unauthenticated.inc({ fault: fault.fault })
  client.refuse(fault, '')
}
