import type { IncomingHttpHeaders } from 'node:http'
import { Fields, fieldNameReader, isFieldValue, trimmed } from '../../lib/http-field.ts'

/** A request of the plainest kind: nothing in it can be read in two ways. */
export interface PlainRequest {
  readonly method: string
  /** With the query string. */
  readonly url: string
  /** As Node gives them: names in lower case, values of one byte a letter. */
  readonly headers: IncomingHttpHeaders
  /** Where its body begins, and where it ends, in the bytes that were read. They may end before. */
  readonly bodyFrom: number
  readonly end: number
}

/** A longer head is left to Node. */
const headBytesMax = 16 * 1024
const headEnd = Buffer.from('\r\n\r\n')

/**
 * Reads the request that the bytes begin with. Undefined for all that is not plain, be it wrong, unusual or only not here yet: Node is to read
 * that. Whatever is read here Node would read the same; so nothing is refused here, and nothing is guessed.
 */
export function readPlain(bytes: Buffer): PlainRequest | undefined {
  const headLength = bytes.subarray(0, headBytesMax).indexOf(headEnd)
  if (headLength === -1) return undefined
  const head = bytes.toString('latin1', 0, headLength)
  const lineEnd = head.indexOf('\r\n')
  const line = lineEnd === -1 ? null : requestLine.exec(head.slice(0, lineEnd))
  const headers = line === null ? undefined : headersIn(head, lineEnd + 2)
  if (line === null || headers === undefined || !isPlain(headers)) return undefined
  const length = lengthIn(headers)
  if (length === undefined) return undefined
  const bodyFrom = headLength + headEnd.length
  return { method: line[1]!, url: line[2]!, headers, bodyFrom, end: bodyFrom + length }
}

const requestLine = /^(GET|POST|DELETE) (\/[!-~]*) HTTP\/1\.1$/

/** By letter, and looked up: a head has hundreds of them. */
const isOfValue = Uint8Array.from({ length: 256 }, (_, code) => Number(isFieldValue(String.fromCharCode(code))))

const readName = fieldNameReader()

/** Undefined where a line is no header, or a name comes twice: what that means depends on the name. */
function headersIn(head: string, from: number): IncomingHttpHeaders | undefined {
  const headers = new Fields()
  for (let at = from; at < head.length; ) {
    const colon = head.indexOf(':', at)
    if (colon === -1) return undefined
    const name = readName(head.slice(at, colon))
    const end = valueEnd(head, colon + 1)
    if (end < head.length && !head.startsWith('\r\n', end)) return undefined
    if (name === undefined || headers[name] !== undefined) return undefined
    headers[name] = trimmed(head, colon + 1, end)
    at = end + 2
  }
  return headers
}

function valueEnd(head: string, from: number): number {
  let at = from
  while (isOfValue[head.charCodeAt(at)] === 1) at += 1
  return at
}

/** Nothing is asked of the connection, and the body is what it is called. */
function isPlain(headers: IncomingHttpHeaders): boolean {
  const { connection } = headers
  return (
    headers.host !== undefined &&
    (connection === undefined || connection === 'keep-alive' || connection === 'Keep-Alive') &&
    headers['transfer-encoding'] === undefined &&
    headers['content-encoding'] === undefined &&
    headers.expect === undefined &&
    headers.upgrade === undefined &&
    headers.trailer === undefined
  )
}

/** A body of so many digits is never of the plain kind. */
const lengthDigits = /^\d{1,9}$/

function lengthIn({ 'content-length': stated }: IncomingHttpHeaders): number | undefined {
  if (stated === undefined) return 0
  return lengthDigits.test(stated) ? Number(stated) : undefined
}
