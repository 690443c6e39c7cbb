import { isObject, notJson, parseObject, type Refusal, refusal } from './asked.ts'
import type { Exchange } from './exchange.ts'
import { inputItems, itemTokens, queryOf, withoutSeal } from './items.ts'
import { pageOrRefusal, type Told, tell } from './lifecycle.ts'
import type { Conversation, StoredItem } from './memory.ts'
import type { Parts } from './parts.ts'
import { conversationNotFound } from './references.ts'

/** OpenAI takes no more at a time. */
const itemsMax = 20

/** `POST /v1/conversations`. */
export function createConversation(exchange: Exchange, parts: Parts): Promise<void> {
  return tell(exchange, 'conversations', parts, () => {
    const fields = exchange.body.length === 0 ? {} : parseObject(exchange.body)
    if (fields === undefined) return notJson()
    const items = fields.items ?? []
    const wrong = wrongItems(items)
    if (wrong !== undefined) return wrong
    const id = `conv_${parts.nextSuffix()}`
    const conversation: Conversation = { id, createdAtSeconds: Math.floor(Date.now() / 1000), metadata: fields.metadata ?? {}, items: [] }
    parts.memory.conversations.put(exchange.key, id, conversation)
    append(exchange.key, conversation, inputItems(items, parts.nextSuffix), parts)
    return { value: conversationObject(conversation) }
  })
}

/** `GET /v1/conversations/{id}`. */
export function retrieveConversation(exchange: Exchange, parts: Parts, [id]: readonly string[]): Promise<void> {
  return tellOf(exchange, id, parts, conversation => ({ value: conversationObject(conversation) }))
}

/** `POST /v1/conversations/{id}`: its metadata anew. */
export function updateConversation(exchange: Exchange, parts: Parts, [id]: readonly string[]): Promise<void> {
  return tellOf(exchange, id, parts, conversation => {
    const fields = parseObject(exchange.body)
    if (fields === undefined) return notJson()
    conversation.metadata = fields.metadata ?? {}
    return { value: conversationObject(conversation) }
  })
}

/** `DELETE /v1/conversations/{id}`. Its items live on, as they do there. */
export function deleteConversation(exchange: Exchange, parts: Parts, [id]: readonly string[]): Promise<void> {
  return tellOf(exchange, id, parts, conversation => {
    parts.memory.conversations.remove(exchange.key, conversation.id)
    return { value: { id: conversation.id, object: 'conversation.deleted', deleted: true } }
  })
}

/** `POST /v1/conversations/{id}/items`. */
export function addItems(exchange: Exchange, parts: Parts, [id]: readonly string[]): Promise<void> {
  return tellOf(exchange, id, parts, conversation => {
    const fields = parseObject(exchange.body)
    if (fields === undefined) return notJson()
    const wrong = wrongItems(fields.items)
    if (wrong !== undefined) return wrong
    const added = inputItems(fields.items, parts.nextSuffix)
    append(exchange.key, conversation, added, parts)
    return {
      value: { object: 'list', data: added, first_id: added[0]?.id ?? null, last_id: added.at(-1)?.id ?? null, has_more: false },
    }
  })
}

/** `GET /v1/conversations/{id}/items`. */
export function listItems(exchange: Exchange, parts: Parts, [id]: readonly string[]): Promise<void> {
  return tellOf(exchange, id, parts, ({ items }) =>
    pageOrRefusal(
      items.map(each => each.item),
      exchange,
    ),
  )
}

/** `GET /v1/conversations/{id}/items/{item_id}`. */
export function retrieveItem(exchange: Exchange, parts: Parts, [id, itemId]: readonly string[]): Promise<void> {
  return tellOf(exchange, id, parts, ({ items }) => {
    const found = items.find(each => each.item.id === itemId)
    return found === undefined ? itemNotFound(itemId) : { value: withoutSeal(found.item, queryOf(exchange.path)) }
  })
}

/** `DELETE /v1/conversations/{id}/items/{item_id}`: answers with the conversation. */
export function deleteItem(exchange: Exchange, parts: Parts, [id, itemId]: readonly string[]): Promise<void> {
  return tellOf(exchange, id, parts, conversation => {
    const at = conversation.items.findIndex(each => each.item.id === itemId)
    if (at === -1) return itemNotFound(itemId)
    conversation.items.splice(at, 1)
    return { value: conversationObject(conversation) }
  })
}

function tellOf(exchange: Exchange, id = '', parts: Parts, look: (conversation: Conversation) => Told): Promise<void> {
  return tell(exchange, 'conversations', parts, () => {
    const conversation = parts.memory.conversations.find(exchange.key, id)
    return conversation === undefined ? conversationNotFound(id) : look(conversation)
  })
}

function conversationObject({ id, createdAtSeconds, metadata }: Conversation): object {
  return { id, object: 'conversation', created_at: createdAtSeconds, metadata }
}

function append(key: string, conversation: Conversation, items: readonly StoredItem[], { memory, countTokens }: Parts): void {
  for (const item of items) {
    conversation.items.push({ item, tokens: itemTokens(item, countTokens) })
    memory.items.put(key, item.id, item)
  }
}

function wrongItems(items: unknown): Refusal | undefined {
  if (!Array.isArray(items) || !items.every(isObject))
    return refusal(400, "Invalid type for 'items': expected an array of objects.", 'invalid_type', 'items')
  if (items.length <= itemsMax) return undefined
  return refusal(
    400,
    `Invalid 'items': array too long. Expected an array with maximum length ${itemsMax}.`,
    'array_above_max_length',
    'items',
  )
}

function itemNotFound(id: string | undefined): Refusal {
  return refusal(404, `Item with id '${id}' not found.`)
}
