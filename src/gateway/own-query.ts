import { Fault } from '../lib/fault.ts'
import { type OwnPage, ownCallsMax } from '../usage/own.ts'

export interface OwnQuery extends OwnPage {
  /** The calls of this key, or of all keys of its user. */
  readonly scope: 'key' | 'user'
  readonly sums: boolean
}

const limitDefault = 20
const names = ['after', 'limit', 'scope', 'since', 'sums', 'until']

/** The query of `GET /v1/usage`. Throws `query_invalid` with what would be right; a name that is none is refused too. */
export function readOwnQuery(url: string): OwnQuery {
  const [, text = ''] = url.split('?', 2)
  const query = new URLSearchParams(text)
  for (const name of query.keys()) {
    if (!names.includes(name)) throw wrong(name.slice(0, 40), 'is not known', `there are ${names.join(', ')}`)
    if (query.getAll(name).length > 1) throw wrong(name, 'stands there twice', 'it is said once')
  }
  return {
    scope: scopeOf(query.get('scope')),
    sums: sumsOf(query.get('sums')),
    limit: limitOf(query.get('limit')),
    after: afterOf(query.get('after')),
    sinceMs: timeOf('since', query.get('since')),
    untilMs: timeOf('until', query.get('until')),
  }
}

function scopeOf(text: string | null): 'key' | 'user' {
  if (text === null || text === 'key') return 'key'
  if (text === 'user') return 'user'
  throw wrong('scope', quoted(text), 'it takes key or user')
}

function sumsOf(text: string | null): boolean {
  if (text === null || text === 'false') return false
  if (text === 'true') return true
  throw wrong('sums', quoted(text), 'it takes true or false')
}

function limitOf(text: string | null): number {
  if (text === null) return limitDefault
  const limit = /^\d{1,3}$/.test(text) ? Number(text) : 0
  if (limit < 1 || limit > ownCallsMax) throw wrong('limit', quoted(text), `it takes a whole number from 1 to ${ownCallsMax}`)
  return limit
}

function afterOf(text: string | null): string | null {
  if (text === null || /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)) return text
  throw wrong('after', quoted(text), 'it takes the last_id of the page before')
}

/** Seconds since 1970, as OpenAI's lists take them, or RFC 3339. */
function timeOf(name: string, text: string | null): number | undefined {
  if (text === null) return undefined
  if (/^\d{1,11}$/.test(text)) return Number(text) * 1000
  const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(text)
  const atMs = isTime ? Date.parse(text) : Number.NaN
  if (Number.isNaN(atMs) || atMs < 0) throw wrong(name, quoted(text), 'it takes seconds since 1970, or a time such as 2026-01-31T12:00:00Z')
  return atMs
}

function quoted(text: string): string {
  return `is ${JSON.stringify(text.slice(0, 60))}`
}

function wrong(name: string, is: string, right: string): Fault {
  return new Fault('query_invalid', { values: { name, is, right } })
}
