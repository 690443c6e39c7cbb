import { isUtf8 } from 'node:buffer'
import { type Fields, isFields } from './json.ts'
import type { CallFacts, CallReading, FieldSpan } from './protocol.ts'
import { isBlank, type Names, type ObjectScan, scanObject } from './scan.ts'

/** A body that is a JSON object with a model: its top level parsed, and where the wanted fields stand. */
export interface CallBody {
  readonly model: string
  readonly parsed: Fields
  readonly place: Pick<CallFacts, 'fields' | 'insertAt' | 'isEmptyObject'>
}

/**
 * Reads what every protocol's body is. It must be one JSON object in UTF-8. Bytes that are not UTF-8, a byte order mark, and nesting
 * or a number of values beyond the bounds of the scan are `body_unparsable`, because the upstream might read something else
 * there than we did; and so is a wanted field that stands twice, because readers disagree about which one counts.
 */
export function readCallBody(body: Buffer, wanted: Names): CallBody | Extract<CallReading, { fault: string }> {
  const read = readObject(body, wanted)
  if ('fault' in read) return read
  const { model } = read.parsed
  if (typeof model !== 'string' || model === '') return { fault: 'model_missing' }
  return { model, ...read }
}

/** The same for a body that needs no model. */
export function readObject(body: Buffer, wanted: Names): Omit<CallBody, 'model'> | Extract<CallReading, { fault: string }> {
  if (isBlank(body)) return { fault: 'body_empty' }
  const scan = isUtf8(body) ? scanObject(body, wanted) : undefined
  const fields = scan === undefined ? undefined : spansOf(scan)
  const parsed = fields === undefined ? undefined : parse(body)
  if (scan === undefined || fields === undefined || parsed === undefined) return { fault: 'body_unparsable' }
  return { parsed, place: { fields, insertAt: scan.insertAt, isEmptyObject: scan.isEmpty } }
}

function spansOf({ members }: ObjectScan): Record<string, FieldSpan> | undefined {
  const fields: Record<string, FieldSpan> = {}
  for (const { name, valueStart, valueEnd } of members) {
    if (fields[name] !== undefined) return undefined
    fields[name] = { valueStart, valueEnd }
  }
  return fields
}

function parse(body: Buffer): Fields | undefined {
  try {
    const parsed: unknown = JSON.parse(body.toString())
    return isFields(parsed) ? parsed : undefined
  } catch {
    // Not JSON: the client's doing, told by the fault.
    return undefined
  }
}

/** The facts of a body that says none of these things. */
export const plainFacts: Omit<CallFacts, 'model' | 'fields' | 'insertAt' | 'isEmptyObject' | 'inputTokensEstimate'> = {
  stream: false,
  maxOutputTokens: undefined,
  isCompaction: false,
  answers: 1,
  serviceTier: undefined,
  background: false,
  store: false,
  hasInstructions: true, // There is no such field to be filled.
  hasSafetyIdentifier: true,
  showsUsage: true,
  hasHostedTools: false,
  hasEncryptedContent: false,
  promptCacheKey: undefined,
  cachesFor12h: false,
  previousResponseId: undefined,
  conversationId: undefined,
  itemReferences: [],
  fileIds: [],
  toolOutputFault: undefined,
  mediaTokens: 0,
}

/** A string that is not blank, as it was sent. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value.trim() !== '' ? value : undefined
}

/** Anything but a positive whole number is the upstream's to judge. */
export function ceilingOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 ? Math.min(value, Number.MAX_SAFE_INTEGER) : undefined
}

/** A blank text says nothing, `null` says nothing; a number or an object is wrong, but said, and the upstream's to judge. */
export function isSaid(value: unknown): boolean {
  return typeof value === 'string' ? value.trim() !== '' : value !== undefined && value !== null
}
