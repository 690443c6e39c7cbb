import { isObject, type Refusal, refusal } from './asked.ts'
import { follow } from './background.ts'
import { refusalOf } from './create.ts'
import { answerFreely, type Exchange } from './exchange.ts'
import { pageOf, queryOf, withoutSeal } from './items.ts'
import type { Stored, StoredItem } from './memory.ts'
import type { Parts } from './parts.ts'
import type { Run } from './run.ts'
import type { Route } from './script.ts'
import { sendBody, sendInstead } from './send.ts'

/** What a request that makes no answer is told: a JSON value, an error, or whatever it sends by itself. */
export type Told = { readonly value: object } | Refusal | ((run: Run) => Promise<void>)

/** Tells it, unless the script for the route has something else in its place. */
export async function tell(exchange: Exchange, route: Route, parts: Parts, look: () => Told | Promise<Told>): Promise<void> {
  const script = parts.scripts.next(exchange.key, '', route)
  await answerFreely(exchange, script, parts, async run => {
    const instead = refusalOf(script, '')
    if (instead !== undefined) return await sendInstead(run, instead, script.rawBody)
    const told = await look()
    if (typeof told === 'function') await told(run)
    else if ('error' in told) await sendInstead(run, told)
    else await sendBody(run, { status: script.status ?? 200, body: JSON.stringify(told.value) })
  })
}

/** `GET /v1/responses/{id}`: as it is now, or, of one in the background, its events from some number on. */
export function retrieve(exchange: Exchange, parts: Parts, [id]: readonly string[]): Promise<void> {
  return tell(exchange, 'retrieve', parts, () => {
    const stored = find(exchange, id, parts)
    const query = queryOf(exchange.path)
    if (stored === undefined) return notFound(id)
    if (query.get('stream') !== 'true') return { value: withSealsAsked(stored.response(), query) }
    const { background } = stored
    if (background === undefined) return notFound(id)
    const after = query.get('starting_after') ?? '-1'
    if (!/^-1$|^\d+$/.test(after))
      return refusal(400, `Invalid 'starting_after': ${after} is not a sequence number.`, 'invalid_value', 'starting_after')
    return run => follow(run, background, Number(after), parts)
  })
}

/** `DELETE /v1/responses/{id}`. One that is still being made goes on, and is paid for. */
export function remove(exchange: Exchange, parts: Parts, [id = '']: readonly string[]): Promise<void> {
  return tell(exchange, 'delete', parts, () =>
    parts.memory.responses.remove(exchange.key, id) ? { value: { id, object: 'response', deleted: true } } : notFound(id),
  )
}

/** `POST /v1/responses/{id}/cancel`. */
export function cancel(exchange: Exchange, parts: Parts, [id]: readonly string[]): Promise<void> {
  return tell(exchange, 'cancel', parts, async () => {
    const stored = find(exchange, id, parts)
    if (stored === undefined) return notFound(id)
    const { background } = stored
    if (background === undefined) return refusal(400, 'Cannot cancel a synchronous response.')
    await background.cancel()
    const response = stored.response()
    return response.status === 'cancelled' ? { value: response } : refusal(400, 'Cannot cancel a completed response.')
  })
}

/** `GET /v1/responses/{id}/input_items`. */
export function listInputItems(exchange: Exchange, parts: Parts, [id]: readonly string[]): Promise<void> {
  return tell(exchange, 'inputItems', parts, () => {
    const stored = find(exchange, id, parts)
    return stored === undefined ? notFound(id) : pageOrRefusal(stored.inputItems, exchange)
  })
}

export function pageOrRefusal(items: readonly StoredItem[], { path }: Exchange): Told {
  const query = queryOf(path)
  const value = pageOf(items, query)
  return value === undefined ? refusal(400, `No item with id '${query.get('after')}' found.`, null, 'after') : { value }
}

function find({ key }: Exchange, id: string | undefined, { memory }: Parts): Stored | undefined {
  return memory.responses.find(key, id ?? '')
}

function notFound(id: string | undefined): Refusal {
  return refusal(404, `Response with id '${id}' not found.`)
}

/** Encrypted content was told when the response was made; later only to who asks for it. */
function withSealsAsked(response: Record<string, unknown>, query: URLSearchParams): object {
  const { output } = response
  return Array.isArray(output) ? { ...response, output: output.map(item => (isItem(item) ? withoutSeal(item, query) : item)) } : response
}

function isItem(value: unknown): value is StoredItem {
  return isObject(value) && typeof value.id === 'string' && typeof value.type === 'string'
}
