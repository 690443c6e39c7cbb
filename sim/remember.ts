import { type Answer, finishedItem } from './answer.ts'
import { isObject } from './asked.ts'
import { inputItems, itemTokens } from './items.ts'
import type { StoredItem } from './memory.ts'
import type { Part } from './output.ts'
import type { Parts } from './parts.ts'
import type { Context } from './references.ts'

export interface Made {
  readonly key: string
  readonly made: Answer
  readonly context: Context
}

/** Keeps a response as it ended, as far as it may be kept: its conversation always, itself where it is stored. */
export function remember(response: Record<string, unknown>, { key, made, context }: Made, parts: Parts): void {
  const { asked, script } = made
  const conversation = script.conversation ?? asked.conversationId
  const isStored = asked.store || asked.background // The latter for a while, whatever was asked: else nobody could fetch it.
  if (!isStored && conversation === undefined) return
  const { memory } = parts
  const before = memory.responses.find(key, made.id) // One in the background has been there since it was queued.
  const input = before?.inputItems ?? inputItems(asked.fields.input, parts.nextSuffix, context.referred)
  const output = partsOf(response, made)
  if (isGoodEnd(response) && conversation !== undefined) converse({ key, id: conversation }, input, output, parts)
  if (!isStored) return
  for (const item of [...input, ...output.map(finishedItem)]) memory.items.put(key, item.id, item)
  memory.responses.put(key, made.id, {
    ...before,
    response: () => response,
    inputItems: input,
    contextTokens: contextTokensOf(response, made),
  })
}

/** Of all that a next call takes up again; undefined when it can take up nothing. */
export function contextTokensOf(response: Record<string, unknown>, made: Answer): number | undefined {
  if (!isGoodEnd(response)) return undefined
  return made.used.inputTokens + partsOf(response, made).reduce((sum, part) => sum + part.tokens, 0)
}

function isGoodEnd({ status }: Record<string, unknown>): boolean {
  return status === 'completed' || status === 'incomplete'
}

/** Of the planned ones, those that the response came to. */
function partsOf({ output }: Record<string, unknown>, made: Answer): readonly Part[] {
  const ids = new Set(Array.isArray(output) ? output.filter(isObject).map(item => item.id) : [])
  return made.output.parts.filter(part => ids.has(part.id))
}

/** What was said and answered becomes a part of the conversation. */
function converse(
  { key, id }: { readonly key: string; readonly id: string },
  input: readonly StoredItem[],
  output: readonly Part[],
  { memory, countTokens }: Parts,
): void {
  let conversation = memory.conversations.find(key, id)
  if (conversation === undefined) {
    conversation = { id, createdAtSeconds: Math.floor(Date.now() / 1000), metadata: {}, items: [] }
    memory.conversations.put(key, id, conversation)
  }
  const said = [
    ...input.map(item => ({ item, tokens: itemTokens(item, countTokens) })),
    ...output.map(part => ({ item: finishedItem(part), tokens: part.tokens })),
  ]
  conversation.items.push(...said)
  for (const { item } of said) memory.items.put(key, item.id, item)
}
