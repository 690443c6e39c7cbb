import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Settings } from '../config/settings.ts'
import { Failure, type Item, type Problem } from './io.ts'

/** The admin API, as the command line uses it. Whatever goes wrong is thrown as a `Failure` with a sentence. */
export interface Api {
  get(path: string, query?: Query): Promise<Item>
  send(method: 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<Item>
  /** Goes from page to page until `most` items are there or there are no more. */
  list(path: string, query: Query, most: number): Promise<Page>
}

export interface Page {
  readonly items: readonly Item[]
  /** The cursor of what follows, or null at the end. */
  readonly next: string | null
}

export type Query = Readonly<Record<string, string | number | boolean | undefined>>

/** Segments of a path below /admin/v1, each escaped. */
export function pathOf(...segments: readonly string[]): string {
  return `/admin/v1/${segments.map(encodeURIComponent).join('/')}`
}

export function connectApi(settings: Pick<Settings, 'url' | 'adminToken' | 'data'>): Api {
  const token = settings.adminToken ?? savedToken(settings.data)
  const ask = (method: string, path: string, body?: unknown) => call({ settings, token, method, path, body })
  return {
    get: (path, query = {}) => ask('GET', path + queryText(query)),
    send: ask,
    async list(path, query, most) {
      const items: Item[] = []
      let next: string | null = null
      do {
        const limit = Math.min(pageMax, most - items.length)
        const page = await ask('GET', path + queryText({ ...query, limit, cursor: next ?? undefined }))
        if (!Array.isArray(page.items))
          throw new Failure(`The gateway at ${settings.url} answered without a list; is its version the same?`)
        items.push(...page.items)
        next = typeof page.next === 'string' ? page.next : null
      } while (next !== null && items.length < most)
      return { items, next }
    },
  }
}

const pageMax = 100
/** A test of an account asks its upstream, which may take its time. */
const answerTimeoutMs = 120_000

interface Ask {
  readonly settings: Pick<Settings, 'url' | 'data'>
  readonly token: string | undefined
  readonly method: string
  readonly path: string
  readonly body?: unknown
}

async function call(ask: Ask): Promise<Item> {
  const { settings, token, method, path, body } = ask
  const headers = new Headers({ accept: 'application/json' })
  if (token !== undefined) headers.set('authorization', `Bearer ${token}`)
  if (body !== undefined) headers.set('content-type', 'application/json')
  const init = { method, headers, redirect: 'manual', signal: AbortSignal.timeout(answerTimeoutMs) } as const
  try {
    const answer = await fetch(settings.url + path, body === undefined ? init : { ...init, body: JSON.stringify(body) })
    const text = await answer.text()
    if (answer.ok) return text === '' ? {} : parse(text, ask)
    throw refusal(answer.status, text, ask)
  } catch (error) {
    throw error instanceof Failure ? error : unreachable(error, settings.url)
  }
}

function parse(text: string, { settings }: Ask): Item {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Item
  } catch {
    // Told below, together with JSON that is no object.
  }
  throw new Failure(`What answers at ${settings.url} is not a Headgate gateway; set HEADGATE_URL to where yours is.`)
}

/** 400 and 422 say that the command was wrong; everything else says that it could not be done. */
function refusal(status: number, text: string, { settings, token }: Ask): Failure {
  if (status === 401 || status === 403) {
    const file = join(settings.data, tokenFile)
    const why = token === undefined ? 'asks for an admin token' : 'refused the admin token'
    return new Failure(`The gateway at ${settings.url} ${why}; set HEADGATE_ADMIN_TOKEN, or run this where ${file} can be read.`)
  }
  const error = errorOf(text)
  if (error === undefined) return new Failure(`The gateway at ${settings.url} answered with status ${status}.`)
  const { message, path = [], problems = [{ path, message }] } = error
  return new Failure(message, status === 400 || status === 422 ? 2 : 1, problems)
}

interface Refused {
  readonly message: string
  readonly path?: Problem['path']
  readonly problems?: readonly Problem[]
}

function errorOf(text: string): Refused | undefined {
  try {
    const error = JSON.parse(text)?.error
    return typeof error?.message === 'string' && error.message !== '' ? error : undefined
  } catch {
    // A proxy in between may answer in HTML.
    return undefined
  }
}

function unreachable(error: unknown, url: string): Failure {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  if (code === 'ECONNREFUSED') return new Failure(`No gateway answers at ${url}; start one with \`headgate serve\`, or set HEADGATE_URL.`)
  if (cause instanceof Error && cause.name === 'TimeoutError')
    return new Failure(`The gateway at ${url} did not answer in ${answerTimeoutMs / 1000} s.`)
  return new Failure(`The gateway at ${url} cannot be reached: ${cause instanceof Error ? cause.message : String(cause)}.`)
}

const tokenFile = 'admin.token'

/** The gateway writes it into its data folder; who may read that folder is an operator. */
function savedToken(data: string): string | undefined {
  try {
    return readFileSync(join(data, tokenFile), 'utf8').trim() || undefined
  } catch {
    // Without the file the gateway will say that it wants a token.
    return undefined
  }
}

function queryText(query: Query): string {
  const text = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) text.set(name, String(value))
  return text.size === 0 ? '' : `?${text}`
}
