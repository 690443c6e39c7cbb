import type OpenAI from 'openai'
import type { Target } from '../client.ts'
import type { Ask, Expected } from './journey.ts'
import type { Refusal, Report } from './situations.ts'

/** `openai`, of either version: their types differ in what is not used here. */
export type Client = typeof OpenAI

export function clientOf(Client: Client, { url, key }: Target): OpenAI {
  return new Client({ baseURL: `${url}/v1`, apiKey: key })
}

/** By `responses.create`. */
export const askResponses =
  (Client: Client): Ask =>
  async (target, { model, how }) => {
    const client = clientOf(Client, target)
    const asked = { model, input: 'Who may open the gate?' }
    let text = ''
    let last: OpenAI.Responses.Response | undefined
    try {
      if (how === 'whole') {
        last = await client.responses.create(asked)
        text = last.output_text
      } else {
        for await (const event of await client.responses.create({ ...asked, stream: true })) {
          if (event.type === 'response.output_text.delta') text += event.delta
          if ('response' in event) last = event.response
        }
      }
      return { text, finish: finishOf(last), usage: usageOf(last?.usage) }
    } catch (error) {
      return { text, error: errorOf(error) }
    }
  }

function finishOf(response: OpenAI.Responses.Response | undefined): string | undefined {
  return [response?.status, response?.error?.code, response?.error?.message].filter(Boolean).join(': ')
}

function usageOf(usage: OpenAI.Responses.ResponseUsage | null | undefined): Report['usage'] {
  return usage ? { input: usage.input_tokens, output: usage.output_tokens } : undefined
}

/** By `chat.completions.create`. */
export const askChat =
  (Client: Client): Ask =>
  async (target, { model, how }) => {
    const client = clientOf(Client, target)
    const asked: OpenAI.ChatCompletionCreateParamsNonStreaming = { model, messages: [{ role: 'user', content: 'Who may open the gate?' }] }
    let text = ''
    let finish: string | undefined
    let usage: Report['usage']
    try {
      if (how === 'whole') {
        const completion = await client.chat.completions.create(asked)
        const [choice] = completion.choices
        return { text: choice?.message.content ?? '', finish: choice?.finish_reason, usage: chatUsageOf(completion.usage) }
      }
      const stream = await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } })
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? ''
        finish = chunk.choices[0]?.finish_reason ?? finish
        usage = chatUsageOf(chunk.usage) ?? usage
      }
      return { text, finish, usage }
    } catch (error) {
      return { text, error: errorOf(error) }
    }
  }

function chatUsageOf(usage: OpenAI.CompletionUsage | null | undefined): Report['usage'] {
  return usage ? { input: usage.prompt_tokens, output: usage.completion_tokens } : undefined
}

export function errorOf(error: unknown): NonNullable<Report['error']> {
  if (!(error instanceof Error)) throw error
  const { status, code } = error as { status?: number; code?: unknown }
  return {
    kind: error.constructor.name,
    message: error.message,
    ...(status !== undefined && { status }),
    ...(code !== undefined && { code }),
  }
}

/** Whatever stands in its message, code and status; tried again twice where that may help. */
export function refusedByOpenAI({ status, message, code, isFinal }: Refusal): Expected {
  const kind = kinds[status] ?? 'InternalServerError'
  return { text: '', error: { kind, message: `${status} ${message}`, status, code }, requests: status >= 500 && !isFinal ? 3 : 1 }
}

const kinds: Readonly<Record<number, string>> = {
  400: 'BadRequestError',
  401: 'AuthenticationError',
  403: 'PermissionDeniedError',
  404: 'NotFoundError',
  429: 'RateLimitError',
}

/** The text of the scripted upstream's ordinary answer, and what of it a response has told when it breaks after five events. */
export const wholeText = 'Water runs downhill, and every farm along the canal receives the measure that it is owed.'
export const beginning = 'Water runs downhill, a'
export const brokenMessage = 'The upstream ended the answer before it was complete'
export const failedMessage = 'The server had an error processing your request.'
