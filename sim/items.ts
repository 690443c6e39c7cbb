import type { Item } from './answer.ts'
import { type CountTokens, countTexts, isObject } from './asked.ts'
import type { StoredItem } from './memory.ts'

/** The items of an input as they are told again: each whole and with an id, references replaced by what they refer to. */
export function inputItems(input: unknown, nextSuffix: () => string, referred: ReadonlyMap<string, StoredItem> = new Map()): StoredItem[] {
  const list = typeof input === 'string' ? [{ role: 'user', content: input }] : Array.isArray(input) ? input : []
  return list.filter(isObject).flatMap(item => {
    if (item.type !== 'item_reference') return [wholeItem(item, nextSuffix)]
    const found = typeof item.id === 'string' ? referred.get(item.id) : undefined
    return found === undefined ? [] : [found]
  })
}

/** By the same rule as those of an input. */
export function itemTokens({ content, output, arguments: said }: StoredItem, countTokens: CountTokens): number {
  return countTexts([content, output, said], countTokens)
}

/** A page of a list, as `after`, `limit` and `order` of a query want it. undefined when `after` names none of them. */
export function pageOf(items: readonly StoredItem[], query: URLSearchParams): Record<string, unknown> | undefined {
  const ordered = query.get('order') === 'asc' ? items : items.toReversed()
  const after = query.get('after')
  const start = after === null ? 0 : ordered.findIndex(item => item.id === after) + 1
  if (after !== null && start === 0) return undefined
  const limit = Math.min(Math.max(Number(query.get('limit') ?? limitDefault) || limitDefault, 1), limitMax)
  const data = ordered.slice(start, start + limit).map(item => withoutSeal(item, query))
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: start + limit < ordered.length,
  }
}

/** Encrypted content is told again only to who asks for it. */
export function withoutSeal<Told extends Item>(item: Told, query: URLSearchParams): Told {
  const isIncluded = [...query.getAll('include'), ...query.getAll('include[]')].includes('reasoning.encrypted_content')
  return item.type !== 'reasoning' || isIncluded ? item : { ...item, encrypted_content: undefined }
}

export function queryOf(path: string): URLSearchParams {
  return new URLSearchParams(path.split('?', 2)[1] ?? '')
}

const limitDefault = 20
const limitMax = 100

const prefixes: Readonly<Record<string, string>> = {
  message: 'msg',
  reasoning: 'rs',
  compaction: 'cmp',
  function_call: 'fc',
  function_call_output: 'fco',
  custom_tool_call: 'ctc',
  custom_tool_call_output: 'ctco',
}

function wholeItem(item: Record<string, unknown>, nextSuffix: () => string): StoredItem {
  const type = typeof item.type === 'string' ? item.type : 'message'
  const id = typeof item.id === 'string' ? item.id : `${prefixes[type] ?? 'item'}_${nextSuffix()}`
  const { content, role } = item
  const kind = role === 'assistant' ? 'output_text' : 'input_text'
  return {
    ...item,
    id,
    type,
    ...(type === 'message' && { status: 'completed' }),
    ...(typeof content === 'string' && { content: [{ type: kind, text: content, ...(role === 'assistant' && { annotations: [] }) }] }),
  }
}
