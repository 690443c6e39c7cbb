import type { Usage } from '../ledger/price.ts'

/**
 * What the client asks for, read once from the bytes of the body. Plain data without functions, because the reading of
 * a large body happens in a worker thread. Offsets are byte offsets into the body.
 */
export interface CallFacts {
  readonly model: string
  readonly stream: boolean
  /** The top-level fields that Headgate reads and that are present: name → where it stands. */
  readonly fields: Readonly<Partial<Record<FieldName, FieldSpan>>>
  /** Where a new first field can be spliced in (right after the opening brace), and whether the object is empty. */
  readonly insertAt: number
  readonly isEmptyObject: boolean
  readonly maxOutputTokens: number | undefined
  readonly serviceTier: string | undefined
  readonly background: boolean
  /** Whether the response will be kept by the upstream (`store` is not false). */
  readonly store: boolean
  /** True when the client's own `instructions` is a string that is not blank. */
  readonly hasInstructions: boolean
  readonly hasSafetyIdentifier: boolean
  /** True when `tools` names a tool that the upstream runs itself and may bill by the call. */
  readonly hasHostedTools: boolean
  readonly promptCacheKey: string | undefined
  readonly previousResponseId: string | undefined
  readonly conversationId: string | undefined
  /** Trimmed ids of `item_reference` input items. */
  readonly itemReferences: readonly string[]
  /** `file_id`s anywhere in the input. */
  readonly fileIds: readonly string[]
  /** Which rule about tool outputs is broken, if one is. */
  readonly toolOutputFault: 'output_without_call_id' | 'output_without_reference' | undefined
  /** An upper estimate of the input's tokens, without any stored context. */
  readonly inputTokensEstimate: number
  /** What of it is not text, but images, files and audio. */
  readonly mediaTokens: number
}

/** The top-level fields that Headgate reads; one of them standing twice is an error. */
export const fieldNames = [
  'model',
  'stream',
  'input',
  'instructions',
  'max_output_tokens',
  'previous_response_id',
  'conversation',
  'prompt_cache_key',
  'safety_identifier',
  'service_tier',
  'background',
  'store',
  'tools',
  'prompt',
] as const

export type FieldName = (typeof fieldNames)[number]

/** Of one member of the top-level object: where its value's first byte stands, and the byte after its last. */
export interface FieldSpan {
  readonly valueStart: number
  readonly valueEnd: number
}

/** What reading a body can say besides the facts. The names are faults. */
export type CallReading = { readonly facts: CallFacts } | { readonly fault: 'body_empty' | 'body_unparsable' | 'model_missing' }

/** What an event of a stream means to us. Everything but the last three passes as it came. */
export type EventKind = 'delta' | 'lifecycle' | 'completed' | 'incomplete' | 'failed' | 'error'

/** What the terminal event or the JSON body says of the answer. */
export interface AnswerFacts {
  /** The response's own status: completed, incomplete, failed, cancelled, or null when it says none. */
  readonly status: string | null
  readonly responseId: string | null
  /** The model that served it, as the upstream names it. */
  readonly model: string | null
  readonly serviceTier: string | null
  readonly usage: Usage | null
  /** Ids of output items, for the table of owners. */
  readonly itemIds: readonly string[]
  readonly conversationId: string | null
  readonly error: AnswerError | null
}

/** Why an answer failed, as the upstream says it. */
export interface AnswerError {
  readonly code: string | null
  /** Said by some servers only. It speaks when `code` is null. */
  readonly type?: string | null
  readonly message: string
  readonly param: string | null
}
