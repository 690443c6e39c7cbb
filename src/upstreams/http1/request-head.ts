import { isFieldName, isFieldValue } from '../../lib/http-field.ts'
import type { Outbound } from '../egress.ts'

/** A request that cannot be written so that its upstream reads what was meant. Nothing of it is sent. */
export class RequestFlaw extends Error {
  override readonly name = 'RequestFlaw'
  readonly code = 'HEADGATE_REQUEST_FLAW'
}

const flawOfPath = /[^\x21-\x7e\x80-\xff]/
/** How long the message is and where it goes is said here, and only here. */
const ours = /^(?:host|connection|content-length|transfer-encoding|keep-alive|upgrade|expect|te|trailer)$/i

/** Names that have been looked at: the same few are sent with every call. */
const names = new Set<string>()
const namesMax = 1_000

/**
 * The head of a request with a body of so many bytes, to be written as latin1. Throws RequestFlaw for what would end a line, and for
 * headers that are not the caller's to set.
 */
export function requestHead({ method, path, headers }: Outbound, host: string, bodyBytes: number): string {
  if (!path.startsWith('/') || flawOfPath.test(path)) throw new RequestFlaw('the path of a request has what no path may have')
  let head = `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: keep-alive\r\n`
  for (const name in headers) {
    const value = headers[name]!
    if (!names.has(name)) learn(name)
    if (!isFieldValue(value)) throw new RequestFlaw(`the header ${name} has what no header may have`)
    head += `${name}: ${value}\r\n`
  }
  return bodyBytes > 0 || method === 'POST' ? `${head}content-length: ${bodyBytes}\r\n\r\n` : `${head}\r\n`
}

function learn(name: string): void {
  if (!isFieldName(name)) throw new RequestFlaw('a header whose name is none')
  if (ours.test(name)) throw new RequestFlaw(`the header ${name} is not to be set`)
  if (names.size < namesMax) names.add(name)
}
