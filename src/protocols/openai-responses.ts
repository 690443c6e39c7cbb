import { isUtf8 } from 'node:buffer'
import { sizeOf } from './input-size.ts'
import { type Fields, isFields } from './json.ts'
import { type CallFacts, type CallReading, type FieldName, type FieldSpan, fieldNames } from './protocol.ts'
import { isBlank, namesToFind, type ObjectScan, scanObject } from './scan.ts'

/**
 * Reads the body of `POST /v1/responses`, once, for everything that Headgate wants to know of it. Pure: it runs as well in a worker.
 *
 * The body must be one JSON object in UTF-8. Bytes that are not UTF-8, a byte order mark, and nesting or a number of values
 * beyond the bounds of the scan are `body_unparsable`, because the upstream might read something else there than we did.
 */
export function readFacts(body: Buffer): CallReading {
  if (isBlank(body)) return { fault: 'body_empty' }
  const scan = isUtf8(body) ? scanObject(body, wantedNames) : undefined
  const fields = scan === undefined ? undefined : spansOf(scan)
  const parsed = fields === undefined ? undefined : parse(body)
  if (scan === undefined || fields === undefined || parsed === undefined) return { fault: 'body_unparsable' }
  const { model } = parsed
  if (typeof model !== 'string' || model === '') return { fault: 'model_missing' }
  const { input } = parsed
  const size = sizeOf(parsed, body.length)
  const facts: CallFacts = {
    model,
    stream: parsed.stream === true,
    fields,
    insertAt: scan.insertAt,
    isEmptyObject: scan.isEmpty,
    maxOutputTokens: ceilingOf(parsed.max_output_tokens),
    serviceTier: textOf(parsed.service_tier),
    background: parsed.background === true,
    store: parsed.store !== false,
    hasInstructions: textOf(parsed.instructions) !== undefined,
    hasSafetyIdentifier: isSaid(parsed.safety_identifier),
    hasHostedTools: Array.isArray(parsed.tools) && parsed.tools.some(isHosted),
    promptCacheKey: textOf(parsed.prompt_cache_key),
    previousResponseId: textOf(parsed.previous_response_id),
    conversationId: textOf(isFields(parsed.conversation) ? parsed.conversation.id : parsed.conversation),
    itemReferences: Array.isArray(input) ? referencesIn(input) : [],
    fileIds: withToolFiles(size.fileIds, parsed.tools),
    toolOutputFault: textOf(parsed.previous_response_id) === undefined && Array.isArray(input) ? toolOutputFaultOf(input) : undefined,
    inputTokensEstimate: size.tokens,
    mediaTokens: size.mediaTokens,
  }
  return { facts }
}

const wantedNames = namesToFind(fieldNames)

/** Undefined when a field stands twice: readers disagree about which one counts. */
function spansOf({ members }: ObjectScan): Partial<Record<FieldName, FieldSpan>> | undefined {
  const fields: Partial<Record<FieldName, FieldSpan>> = {}
  for (const { name, valueStart, valueEnd } of members) {
    if (name in fields) return undefined
    // The scan returns only names that it was given.
    fields[name as FieldName] = { valueStart, valueEnd }
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

/** A string that is not blank, as it was sent. */
function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value.trim() !== '' ? value : undefined
}

/** Anything but a positive whole number is the upstream's to judge. */
function ceilingOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 ? Math.min(value, Number.MAX_SAFE_INTEGER) : undefined
}

/** A blank text says nothing, `null` says nothing; a number or an object is wrong, but said, and the upstream's to judge. */
function isSaid(value: unknown): boolean {
  return typeof value === 'string' ? value.trim() !== '' : value !== undefined && value !== null
}

/**
 * Tools that the upstream runs itself, within the call, and bills by the call, by the container or by what they read (PROTOCOL.md 2.5
 * and the union `Tool` of npm openai 7.57.0). Functions, custom tools, `computer`, `local_shell`, `apply_patch`, `tool_search` and a shell
 * with a local environment are run by the client and cost tokens only.
 */
const hostedTools: ReadonlySet<unknown> = new Set([
  'file_search',
  'code_interpreter',
  'image_generation',
  'mcp',
  'programmatic_tool_calling',
])

function isHosted(tool: unknown): boolean {
  if (!isFields(tool)) return false
  const { type, environment } = tool
  if (type === 'shell') return !(isFields(environment) && environment.type === 'local')
  // Also `web_search_preview` and dated names such as `web_search_2025_08_26`.
  return hostedTools.has(type) || (typeof type === 'string' && type.startsWith('web_search'))
}

/** An item with an id and nothing else is a reference too: its `type` is optional and may be null (npm openai, `ItemReference`). */
function referencesIn(input: readonly unknown[]): string[] {
  const ids = new Set<string>()
  for (const item of input) {
    if (!isFields(item)) continue
    const isReference = item.type === 'item_reference' || ((item.type === undefined || item.type === null) && item.role === undefined)
    const id = isReference ? textOf(item.id)?.trim() : undefined
    if (id !== undefined) ids.add(id)
  }
  return [...ids]
}

/** Files that a hosted tool is given, besides those in the input. Schemas of functions are not searched: they only speak of files. */
function withToolFiles(fileIds: readonly string[], tools: unknown): readonly string[] {
  if (!Array.isArray(tools)) return fileIds
  const ids = new Set(fileIds)
  for (const tool of tools) {
    if (!isFields(tool)) continue
    const { container, input_image_mask: mask } = tool
    const files: unknown[] = isFields(container) && Array.isArray(container.file_ids) ? [...container.file_ids] : []
    if (isFields(mask)) files.push(mask.file_id)
    for (const file of files) if (typeof file === 'string' && file.trim() !== '') ids.add(file)
  }
  return ids.size === fileIds.length ? fileIds : [...ids]
}

/** The rule that tool outputs need a context, for a call without a previous response. */
function toolOutputFaultOf(input: readonly unknown[]): CallFacts['toolOutputFault'] {
  const outputs = input.filter(item => isFields(item) && item.type === 'function_call_output').map(callIdOf)
  if (outputs.length === 0) return undefined
  const isCall = (item: unknown) => isFields(item) && (item.type === 'tool_call' || item.type === 'function_call')
  if (input.some(item => isCall(item) && callIdOf(item) !== undefined)) return undefined
  if (outputs.includes(undefined)) return 'output_without_call_id'
  const referred = new Set(input.map(item => (isFields(item) && item.type === 'item_reference' ? textOf(item.id)?.trim() : undefined)))
  return outputs.every(id => referred.has(id)) ? undefined : 'output_without_reference'
}

function callIdOf(item: unknown): string | undefined {
  return isFields(item) ? textOf(item.call_id) : undefined
}
