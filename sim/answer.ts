import { type Asked, type CountTokens, isObject } from './asked.ts'
import { compactedTokens, type Output, type Part, planCompaction, planOutput } from './output.ts'
import type { Script } from './script.ts'
import { seal } from './seal.ts'
import { nothingUsed, type TokenUsage } from './usage.ts'

/** All that one answer will be, before any of it is sent. */
export interface Answer {
  readonly id: string
  readonly createdAtSeconds: number
  readonly model: string
  /** The tier that is reported at the end; until then the asked one is. */
  readonly tier: string
  readonly asked: Asked
  readonly script: Script
  readonly output: Output
  readonly used: TokenUsage
}

export type FinalStatus = 'completed' | 'incomplete' | 'failed' | 'cancelled'

export type ResponseStatus = FinalStatus | 'queued' | 'in_progress'

export type Item = Record<string, unknown> & { readonly id: string; readonly type: string }

/** What a response says that it does not know from the start. */
export interface Ending {
  readonly status: ResponseStatus
  readonly items: readonly Item[]
  /** undefined leaves the field out. */
  readonly usage: Readonly<Record<string, unknown>> | null | undefined
  readonly webSearches: number
  /** Why it is incomplete. Default `max_output_tokens`. */
  readonly reason?: 'steered'
}

export interface AnswerMaking {
  /** Makes the ids of the response and its items; unique. */
  readonly suffix: string
  /** Tokens of what is taken up from before, on top of what was sent. */
  readonly contextTokens: number
  readonly countTokens: CountTokens
  /** Reasoning is sealed for it, and can be opened by nobody else. */
  readonly organisation: string
}

export function makeAnswer(asked: Asked, script: Script, making: AnswerMaking): Answer {
  const inputTokens = asked.inputTokens + making.contextTokens
  const output = isCompaction(asked) ? compaction(script, inputTokens, making) : spokenOutput(asked, script, making)
  return {
    id: `resp_${making.suffix}`,
    createdAtSeconds: Math.floor(Date.now() / 1000),
    model: script.model ?? asked.model,
    tier: script.serviceTier ?? (asked.serviceTier === 'auto' ? 'default' : asked.serviceTier),
    asked,
    script,
    output,
    used: usedBy(inputTokens, script, output),
  }
}

function spokenOutput(asked: Asked, script: Script, { suffix, countTokens, organisation }: AnswerMaking): Output {
  return planOutput(script, suffix, {
    maxTokens: asked.maxOutputTokens ?? Number.POSITIVE_INFINITY,
    countTokens,
    sealed: wantsSealed(asked) ? seal(organisation, script.reasoning ?? 0) : undefined,
  })
}

/** Some clients have their context compacted by an ordinary call whose last item says so. */
function isCompaction({ fields: { input } }: Asked): boolean {
  const last: unknown = Array.isArray(input) ? input.at(-1) : undefined
  return isObject(last) && last.type === 'compaction_trigger'
}

function compaction(script: Script, inputTokens: number, { suffix, organisation }: AnswerMaking): Output {
  const tokens = compactedTokens(script, inputTokens)
  return planCompaction(`cmp_${suffix}`, tokens, seal(organisation, tokens))
}

/** As it was asked for, and always where nothing is stored: how else should it come back. */
function wantsSealed({ store, fields: { include } }: Asked): boolean {
  return !store || (Array.isArray(include) && include.includes('reasoning.encrypted_content'))
}

/** With the whole input: a model reads all of it before its first word. */
export function usedBy(
  inputTokens: number,
  script: Script,
  made: { readonly tokens: number; readonly reasoningTokens: number; readonly webSearches: number },
): TokenUsage {
  return {
    ...nothingUsed,
    inputTokens,
    cachedTokens: script.cachedTokens ?? 0,
    cacheWriteTokens: script.cacheWriteTokens ?? 0,
    outputTokens: made.tokens,
    reasoningTokens: made.reasoningTokens,
    webSearches: made.webSearches,
  }
}

/** The status that a whole answer has in its terminal event or JSON body. */
export function finalStatus({ output, script }: Answer): FinalStatus {
  if (script.end === 'failed' || script.end === 'error') return 'failed'
  if (script.end === 'cancelled') return 'cancelled'
  return script.end === 'incomplete' || !output.isWhole ? 'incomplete' : 'completed'
}

export function failureOf(script: Script): { code: string; message: string; param: string | null } {
  const { code, message, param } = script.failure ?? {}
  return { code: code ?? 'server_error', message: message ?? 'The server had an error processing your request.', param: param ?? null }
}

/** The response object of lifecycle events and JSON bodies. */
export function responseObject(answer: Answer, ending: Ending): Record<string, unknown> {
  const { asked, script } = answer
  const { fields } = asked
  const { status } = ending
  const isUnderWay = status === 'in_progress' || status === 'queued'
  const conversation = script.conversation ?? asked.conversationId
  const { code, message } = failureOf(script)
  return {
    id: answer.id,
    object: 'response',
    created_at: answer.createdAtSeconds,
    status,
    background: asked.background,
    completed_at: status === 'completed' ? Math.floor(Date.now() / 1000) : null,
    ...(conversation !== undefined && { conversation: { id: conversation } }),
    error: status === 'failed' ? { code, message } : null,
    incomplete_details: status === 'incomplete' ? { reason: ending.reason ?? 'max_output_tokens' } : null,
    instructions: fields.instructions ?? null,
    max_output_tokens: asked.maxOutputTokens ?? null,
    max_tool_calls: fields.max_tool_calls ?? null,
    model: answer.model,
    output: ending.items,
    parallel_tool_calls: fields.parallel_tool_calls ?? true,
    previous_response_id: asked.previousResponseId ?? null,
    prompt_cache_key: fields.prompt_cache_key ?? null,
    reasoning: { effort: null, summary: null, ...asObject(fields.reasoning) },
    safety_identifier: fields.safety_identifier ?? null,
    service_tier: isUnderWay ? asked.serviceTier : answer.tier,
    store: asked.store,
    temperature: fields.temperature ?? 1,
    text: { format: { type: 'text' }, verbosity: 'medium', ...asObject(fields.text) },
    tool_choice: fields.tool_choice ?? 'auto',
    ...(!isUnderWay && ending.webSearches > 0 && { tool_usage: { web_search: { num_requests: ending.webSearches } } }),
    tools: fields.tools ?? [],
    top_logprobs: 0,
    top_p: fields.top_p ?? 1,
    truncation: fields.truncation ?? 'disabled',
    ...(ending.usage !== undefined && { usage: ending.usage }),
    user: fields.user ?? null,
    metadata: fields.metadata ?? {},
  }
}

/** A part as an output item, finished. */
export function finishedItem(part: Part): Item {
  const status = part.isWhole ? 'completed' : 'incomplete'
  const { id, text } = part
  switch (part.kind) {
    case 'reasoning':
      return {
        id,
        type: 'reasoning',
        summary: [{ type: 'summary_text', text }],
        ...(part.sealed !== undefined && { encrypted_content: part.sealed }),
      }
    case 'compaction':
      return { id, type: 'compaction', encrypted_content: part.sealed }
    case 'search':
      return { id, type: 'web_search_call', status, action: { type: 'search', query: text, queries: [text] } }
    case 'image':
      return { id, type: 'image_generation_call', status, result: 'AAAA' }
    case 'message':
      return { id, type: 'message', status, role: 'assistant', content: [textContent(text)] }
    case 'call':
      return { id, type: 'function_call', status, name: part.name, call_id: id.replace('fc_', 'call_'), arguments: text }
  }
}

export function textContent(text: string): Record<string, unknown> {
  return { type: 'output_text', annotations: [], logprobs: [], text }
}

function asObject(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : {}
}
