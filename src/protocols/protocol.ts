import type { Usage } from '../ledger/price.ts'
import type { Written } from './answer-text.ts'
import type { Cut } from './splice.ts'

/**
 * A way in which clients and upstreams speak. Pure: bytes in, facts and bytes out; who may, who pays and who answers is the
 * same for all. A protocol is one file, and a line in `list.ts`.
 */
export interface Protocol {
  readonly name: string
  /** Where it is asked, below an account's base URL: "/responses". */
  readonly path: string
  /** Nothing says that it is charged for: it costs nothing. */
  readonly isFree?: true
  /** Reads a body, once. */
  readCall(body: Buffer): CallReading
  /** The body with what is wanted of it, as slices to be sent one after the other. Every other byte stays as it was sent. */
  rewrite(body: Buffer, facts: CallFacts, wanted: Wanted): Buffer[]
  /** What to cut out of a body when the upstream cannot read its encrypted content; undefined when that cannot help. */
  withoutEncrypted?(body: Buffer, facts: CallFacts): Stripped | undefined
  /** What a JSON answer says of itself. Throws `AnswerUnreadable`. */
  readBody(body: Buffer): AnswerFacts
  /** The JSON answer with another name of the model. */
  renameInBody(body: Buffer, model: string): Buffer
  /** What a model wrote into a JSON answer, for an estimate when it reports no usage. */
  textsOfBody(body: Buffer): string[]
  /** What an event says went wrong; undefined when it says no such thing. Throws `AnswerUnreadable`. */
  errorIn(raw: Buffer, type: string): AnswerError | undefined
  /** A reader for the events of one answer. */
  openAnswer(asked: AnswerAsked): AnswerStream
  /** A refusal, to a client that has only heard comments so far: all that is to be said in the stream. */
  refusalEvents(refusal: Refusal, telling: Telling): Buffer[]
  /** A whole JSON answer as the events that begin and end it, likewise. */
  wholeEvents(body: Buffer): Buffer[]
}

/** What Headgate may want changed in a body. What is undefined is left alone. */
export interface Wanted {
  readonly model?: string | undefined
  readonly instructions?: string | undefined
  readonly outputCeiling?: number | undefined
  readonly safetyIdentifier?: string | undefined
  /** As `withoutEncrypted` says. */
  readonly cuts?: readonly Cut[] | undefined
}

/** What a body is sent without. */
export interface Stripped {
  readonly cuts: readonly Cut[]
  /** In words: "3 reasoning items". */
  readonly what: string
}

export interface AnswerAsked {
  readonly facts: CallFacts
  /** The client's name of the model, when the upstream was told another. */
  readonly renameTo: string | undefined
}

/** Reads the events of one answer, in the order in which they come, and can end it when its own end never came. */
export interface AnswerStream {
  /** Throws `AnswerUnreadable` for an end that cannot be read. */
  read(raw: Buffer, type: string): EventRead
  /** What was told so far, where a protocol tells it before the end. */
  readonly told: AnswerTold
  /** What was read of the answer's text so far. */
  written(): Written
  /** A proper end, to follow what was read so far. */
  failure(failure: { readonly code: string; readonly message: string }, telling: Telling): Buffer[]
}

/** What an event means to us, and the bytes that pass in its place; none when the client is not to see it. */
export type EventRead =
  | { readonly kind: 'passes'; readonly bytes: Buffer | undefined }
  /** Something went wrong. An end may follow, or not. */
  | { readonly kind: 'fails'; readonly bytes: Buffer; readonly error: AnswerError | undefined }
  /** The answer is whole. Little may follow, and nothing of weight. */
  | { readonly kind: 'ends'; readonly bytes: Buffer; readonly facts: AnswerFacts }

/** A refusal in OpenAI's words, and the status that it would have had. */
export interface Refusal {
  readonly status: number
  readonly type: string
  readonly code: string | null
  readonly message: string
  readonly param: string | null
}

/** What an answer that we make up says of itself. */
export interface Telling {
  readonly id: string
  /** As the client named it. */
  readonly model: string
  readonly createdAtMs: number
}

/** The upstream's answer is not what the protocol says it is. */
export class AnswerUnreadable extends Error {
  override readonly name = 'AnswerUnreadable'
}

/**
 * What the client asks for, read once from the bytes of the body. Plain data without functions, because the reading of
 * a large body happens in a worker thread. Offsets are byte offsets into the body.
 */
export interface CallFacts {
  readonly model: string
  readonly stream: boolean
  /** The top-level fields that Headgate reads and that are present: name → where it stands. */
  readonly fields: Readonly<Record<string, FieldSpan>>
  /** Where a new first field can be spliced in (right after the opening brace), and whether the object is empty. */
  readonly insertAt: number
  readonly isEmptyObject: boolean
  readonly maxOutputTokens: number | undefined
  /** What comes out is not longer than what goes in, and nothing in the body can lower it. */
  readonly isCompaction: boolean
  /** How many answers are asked for at once, each of them up to that ceiling. */
  readonly answers: number
  readonly serviceTier: string | undefined
  readonly background: boolean
  /** Whether the response will be kept by the upstream (`store` is not false). */
  readonly store: boolean
  /** True when the client's own `instructions` is a string that is not blank. */
  readonly hasInstructions: boolean
  readonly hasSafetyIdentifier: boolean
  /** The client itself asked to be told the usage, where a protocol leaves that to the client. */
  readonly showsUsage: boolean
  /** True when `tools` names a tool that the upstream runs itself and may bill by the call. */
  readonly hasHostedTools: boolean
  /** Some of the input can be read only by the organisation that made it. */
  readonly hasEncryptedContent: boolean
  readonly promptCacheKey: string | undefined
  /** What it writes to the prompt cache is to stay for twelve hours, which may cost more. */
  readonly cachesFor12h: boolean
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

/** Of one member of the top-level object: where its value's first byte stands, and the byte after its last. */
export interface FieldSpan {
  readonly valueStart: number
  readonly valueEnd: number
}

/** What reading a body can say besides the facts. The names are faults. */
export type CallReading = { readonly facts: CallFacts } | { readonly fault: 'body_empty' | 'body_unparsable' | 'model_missing' }

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
  /** Containers in which hosted tools ran. They outlive the answer, stored or not. */
  readonly containerIds: readonly string[]
  readonly conversationId: string | null
  readonly error: AnswerError | null
}

/** What an answer's bill hangs on. */
export type AnswerTold = Pick<AnswerFacts, 'model' | 'serviceTier' | 'usage'>

export const nothingTold: AnswerTold = { model: null, serviceTier: null, usage: null }

/** Why an answer failed, as the upstream says it. */
export interface AnswerError {
  readonly code: string | null
  /** Said by some servers only. It speaks when `code` is null. */
  readonly type?: string | null
  readonly message: string
  readonly param: string | null
}
