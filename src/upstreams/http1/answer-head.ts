import { Fields, fieldNameReader, isFieldValue, trimmed } from '../../lib/http-field.ts'
import type { Headers } from '../verdict.ts'
import { AnswerFlaw } from './flaw.ts'

/** The status line and the headers of an answer, and what they say of the rest. */
export interface AnswerHead {
  readonly status: number
  readonly headers: Headers
  /** How the body ends: after so many bytes, with its last chunk, or with the connection. */
  readonly body: number | 'chunked' | 'until close'
  /** For how long the connection may be kept for another request; 0 for not at all. */
  readonly keepMs: number
}

/** Without a word of the upstream's about it. */
const keepMsUsual = 4_000
const keepMsMax = 600_000
/** So much earlier than the upstream: what is sent while it closes is lost. */
const keepMsLess = 2_000

/**
 * Reads a head, without the blank line at its end (RFC 9112, 4 to 6.3). It is strict where a lenient reader might see another answer than
 * ours: one way to end a line, one way to say how long the body is. Throws AnswerFlaw.
 */
export function readHead(text: string): AnswerHead {
  const lineEnd = endOfLine(text, 0)
  const status = statusOf(text, lineEnd)
  const headers = new Fields<string | string[]>()
  let length: number | undefined
  let isChunked = false
  // A server of HTTP/1.0 closes.
  let keepMs = text[7] === '0' ? 0 : keepMsUsual
  for (let at = lineEnd + 2, end: number; at <= text.length; at = end + 2) {
    end = endOfLine(text, at)
    const colon = text.indexOf(':', at)
    if (colon === -1 || colon >= end) throw new AnswerFlaw('a header without a colon')
    const name = nameOf(text.slice(at, colon))
    const value = fieldValue(text, colon + 1, end)
    switch (name) {
      case 'content-length':
        if (length !== undefined) throw new AnswerFlaw('two content lengths')
        length = lengthOf(value)
        break
      case 'transfer-encoding':
        if (isChunked || value.toLowerCase() !== 'chunked') throw new AnswerFlaw('a transfer coding other than chunked')
        isChunked = true
        break
      case 'connection':
        if (closes(value)) keepMs = 0
        break
      case 'keep-alive':
        if (keepMs !== 0) keepMs = keepMsOf(value)
        break
    }
    add(headers, name, value)
  }
  if (isChunked && length !== undefined) throw new AnswerFlaw('both a content length and a transfer coding')
  if (status === 204 || status === 304) return { status, headers, body: 0, keepMs: isChunked || length ? 0 : keepMs }
  const body = isChunked ? 'chunked' : (length ?? 'until close')
  return { status, headers, body, keepMs: body === 'until close' ? 0 : keepMs }
}

/** Reads the headers after a last chunk, each with a line's end before it. Nothing of theirs is used; what is none of them ends the connection. */
export function checkTrailers(text: string): void {
  for (let at = 2, end: number; at <= text.length; at = end + 2) {
    end = endOfLine(text, at)
    const colon = text.indexOf(':', at)
    if (colon === -1 || colon >= end) throw new AnswerFlaw('a trailer without a colon')
    const name = nameOf(text.slice(at, colon))
    fieldValue(text, colon + 1, end)
    if (name === 'content-length' || name === 'transfer-encoding') throw new AnswerFlaw(`${name} in a trailer`)
  }
}

function endOfLine(text: string, at: number): number {
  const end = text.indexOf('\r\n', at)
  return end === -1 ? text.length : end
}

const zero = 48
const nine = 57

/** `HTTP/1.1 200 OK`; what the words are is nobody's business. */
function statusOf(text: string, end: number): number {
  const isKnown = text.startsWith('HTTP/1.1 ') || text.startsWith('HTTP/1.0 ')
  if (!isKnown || end < 12 || (end > 12 && text[12] !== ' ')) throw new AnswerFlaw('it does not begin as an answer of HTTP/1.1')
  let status = 0
  for (let at = 9; at < 12; at += 1) {
    const code = text.charCodeAt(at)
    if (code < zero || code > nine) throw new AnswerFlaw('a status that is no number')
    status = status * 10 + code - zero
  }
  if (status < 100) throw new AnswerFlaw('a status below 100')
  if (status === 101) throw new AnswerFlaw('it changes the protocol, and nobody asked for that')
  if (!isFieldValue(text.slice(12, end))) throw new AnswerFlaw('a status line with what is no text')
  return status
}

const readName = fieldNameReader()

function nameOf(raw: string): string {
  const name = readName(raw)
  if (name === undefined) throw new AnswerFlaw('a header whose name is none')
  return name
}

function fieldValue(text: string, from: number, end: number): string {
  const value = trimmed(text, from, end)
  if (!isFieldValue(value)) throw new AnswerFlaw('a header with what is no text')
  return value
}

function lengthOf(value: string): number {
  const length = Number(value)
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(length)) throw new AnswerFlaw('a content length that is no number')
  return length
}

function closes(value: string): boolean {
  return value !== 'keep-alive' && /(?:^|,)[\t ]*close[\t ]*(?:,|$)/i.test(value)
}

function keepMsOf(value: string): number {
  const seconds = /timeout=(\d+)/.exec(value)?.[1]
  return seconds === undefined ? keepMsUsual : Math.max(0, Math.min(Number(seconds) * 1000 - keepMsLess, keepMsMax))
}

function add(headers: Fields<string | string[]>, name: string, value: string): void {
  const before = headers[name]
  if (before === undefined) headers[name] = value
  else if (typeof before === 'string') headers[name] = [before, value]
  else before.push(value)
}
