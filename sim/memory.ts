import type { Background } from './background.ts'
import { openShelf, type Shelf } from './shelf.ts'

/** All that lives on after a request, each thing known to the key that made it only. */
export interface Memory {
  readonly responses: Shelf<Stored>
  /** By their own ids: of stored responses, what went in and what came out, and of conversations. */
  readonly items: Shelf<StoredItem>
  readonly conversations: Shelf<Conversation>
}

/** An item as it is told again. */
export type StoredItem = Record<string, unknown> & { readonly id: string; readonly type: string }

export interface Stored {
  /** As it is now. */
  response(): Record<string, unknown>
  readonly inputItems: readonly StoredItem[]
  /** Of the whole context that a next call takes up again; undefined when none can. */
  readonly contextTokens: number | undefined
  readonly background?: Background
}

export interface Conversation {
  readonly id: string
  readonly createdAtSeconds: number
  metadata: unknown
  readonly items: { readonly item: StoredItem; readonly tokens: number }[]
}

const responsesMax = 100_000
const itemsMax = 400_000
const conversationsMax = 100_000

export function openMemory(): Memory {
  return { responses: openShelf(responsesMax), items: openShelf(itemsMax), conversations: openShelf(conversationsMax) }
}
