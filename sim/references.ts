import { type Asked, isObject, type Refusal, refusal } from './asked.ts'
import { itemTokens } from './items.ts'
import type { Conversation, StoredItem } from './memory.ts'
import type { Parts } from './parts.ts'
import type { Script } from './script.ts'
import { unseal } from './seal.ts'

/** What a call takes up from before. */
export interface Context {
  /** On top of what was sent. */
  readonly tokens: number
  readonly conversation: Conversation | undefined
  /** Those that stand in the input as references only. */
  readonly referred: ReadonlyMap<string, StoredItem>
}

export interface Asking {
  readonly key: string
  readonly asked: Asked
  readonly script: Script
  /** Tokens of a response that only this connection remembers. */
  readonly remembered?: (responseId: string) => number | undefined
}

/** Looks up all that an input refers to. What is not there is refused in OpenAI's words. */
export function readContext(asking: Asking, parts: Parts): Context | Refusal {
  const { key, asked } = asking
  const { previousResponseId: previous, conversationId } = asked
  const { memory, countTokens } = parts
  let tokens = 0
  if (previous !== undefined && conversationId !== undefined) return refusal(400, exclusive, 'mutually_exclusive_parameters')
  if (previous !== undefined) {
    const known = memory.responses.find(key, previous)?.contextTokens ?? asking.remembered?.(previous)
    if (known === undefined) return previousNotFound(previous)
    tokens += known
  }
  const conversation = conversationId === undefined ? undefined : memory.conversations.find(key, conversationId)
  if (conversationId !== undefined && conversation === undefined) return conversationNotFound(conversationId)
  tokens += conversation?.items.reduce((sum, each) => sum + each.tokens, 0) ?? 0
  const referred = new Map<string, StoredItem>()
  const { input } = asked.fields
  for (const item of Array.isArray(input) ? input : []) {
    const found = isObject(item) ? readItem(item, asking, parts) : undefined
    if (found === undefined) continue
    if ('error' in found) return found
    if ('tokens' in found) tokens += found.tokens
    else {
      referred.set(found.item.id, found.item)
      tokens += itemTokens(found.item, countTokens)
    }
  }
  return { tokens, conversation, referred }
}

export function previousNotFound(id: string): Refusal {
  return refusal(400, `Previous response with id '${id}' not found.`, 'previous_response_not_found', 'previous_response_id')
}

export function conversationNotFound(id: string): Refusal {
  return refusal(404, `Conversation with id '${id}' not found.`)
}

const exclusive = "Mutually exclusive parameters. Ensure you are only providing one of: 'previous_response_id' or 'conversation'."

type Found = { readonly item: StoredItem } | { readonly tokens: number } | Refusal | undefined

/** An item that stands for more than itself: a reference, a seal to be opened, or reasoning that only its id remembers. */
function readItem(item: Record<string, unknown>, { key, script }: Asking, { memory, organisationOf }: Parts): Found {
  const { type, id, encrypted_content: sealed } = item
  if (typeof sealed === 'string' && (type === 'reasoning' || type === 'compaction')) {
    const opened = unseal(sealed, organisationOf(key))
    if ('why' in opened) return notVerified(sealed, opened.why)
    return type === 'compaction' ? opened : undefined // Reasoning of earlier turns is dropped.
  }
  if (script.anyItems === true || typeof id !== 'string' || (type !== 'item_reference' && type !== 'reasoning')) return undefined
  const found = memory.items.find(key, id)
  if (found === undefined) return refusal(400, itemNotFound(id), null, 'input')
  return type === 'item_reference' ? { item: found } : undefined
}

function itemNotFound(id: string): string {
  const advice = 'Try again with `store` set to true, or remove this item from your input.'
  return `Item with id '${id}' not found. Items are not persisted when \`store\` is set to false. ${advice}`
}

const shownCharacters = 4

function notVerified(sealed: string, why: string): Refusal {
  const shown = `${sealed.slice(0, shownCharacters)}...${sealed.slice(-shownCharacters)}`
  return refusal(400, `The encrypted content ${shown} could not be verified. Reason: ${why}`, 'invalid_encrypted_content')
}
