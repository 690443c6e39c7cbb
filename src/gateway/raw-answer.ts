import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../lib/clock.ts'
import type { Fault } from '../lib/fault.ts'
import { newId } from '../lib/id.ts'

export interface RawAsked {
  /** In place of the fault's own. */
  readonly status?: number | undefined
  /** Where it is known. An answer to HEAD has no body. */
  readonly method?: string | undefined
}

/** Says a fault on a bare socket, where there is no response to say it by, and closes it. */
export function refuseRaw(socket: Socket, fault: Fault, clock: Clock, { status = fault.entry.status, method }: RawAsked = {}): void {
  const body = JSON.stringify(fault.body)
  const headers: Record<string, string> = { 'x-request-id': newId(clock.nowMs()) }
  // RFC 9110, 15.5.22: it must say which protocol would do.
  if (status === 426) headers['upgrade'] = 'HTTP/1.1'
  if (fault.retryAfterSeconds !== undefined) headers['retry-after'] = String(fault.retryAfterSeconds)
  if (fault.entry.retry === 'never') headers['x-should-retry'] = 'false'
  const all = { ...headers, 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)), connection: 'close' }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.on('error', () => socket.destroy())
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${method === 'HEAD' ? '' : body}`)
  socket.destroySoon()
}
