import { isObject } from './asked.ts'
import type { Connection, Create } from './lanes.ts'
import type { Speaking } from './speak.ts'

/** What a client said while its response was being given. */
export interface Steering {
  readonly id: string
  readonly input: unknown
}

const steersMax = 8

/** `response.steer`: accepted, it is put to a successor of the response. */
export function steer(connection: Connection, fields: Readonly<Record<string, unknown>>): void {
  const { previous_response_id: target, input } = fields
  const id = typeof target === 'string' ? target : ''
  const speaking = connection.speaking.get(id)
  const wrong = wrongSteer(connection, id, input)
  if (wrong !== undefined) {
    const told = { error: errorOf(wrong), steer: { input: input ?? null, previous_response_id: id } }
    if (speaking !== undefined) return void tell(speaking, { type: 'response.steer.failed', ...told })
    return connection.ws.send(JSON.stringify({ type: 'response.steer.failed', sequence_number: 0, ...told }))
  }
  if (speaking === undefined) return
  const steering = { id: `steer_${id.replace('resp_', '')}_${speaking.steering.length}`, input }
  speaking.steering.push(steering)
  tell(speaking, { type: 'response.steer.accepted', steer: { id: steering.id, previous_response_id: id } })
}

/** After a response has ended: the create of its successor, if what was said meanwhile makes one. */
export async function settleSteering(
  connection: Connection,
  { made, streamId, fields, steering, tell: told }: Speaking,
  final: Record<string, unknown> | undefined,
): Promise<Create | undefined> {
  if (steering.length === 0) return undefined
  const previous_response_id = made.id
  if (final === undefined || final.status === 'failed') {
    for (const { id, input } of steering) {
      await told({ type: 'response.steer.failed', error: errorOf('successor_creation_failed'), steer: { id, input, previous_response_id } })
    }
    return undefined
  }
  const input = steering.flatMap(each => itemsOf(each.input))
  const required = requiredInput(final.output)
  if (required.length === 0) return { streamId, fields: { ...fields, input, previous_response_id, generate: true } }
  connection.waiting.set(made.id, input)
  for (const { id } of steering) {
    const waits = { reason: 'waiting_for_required_input', required_input: required }
    await told({ type: 'response.steer.pending', ...waits, steer: { id, previous_response_id } })
  }
  return undefined
}

/** A create that brings what a steered response waited for takes the steering up, before its own input. */
export function withWaiting({ waiting }: Connection, fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const previous = fields.previous_response_id
  const steered = typeof previous === 'string' ? waiting.get(previous) : undefined
  if (steered === undefined) return fields
  waiting.delete(String(previous))
  return { ...fields, input: [...steered, ...itemsOf(fields.input)] }
}

function tell(speaking: Speaking, event: Parameters<Speaking['tell']>[0]): void {
  speaking.tell(event).catch(() => {}) // The socket is gone, and with it whoever wanted to know.
}

const messages = {
  response_not_found: 'The target response is not available on this connection.',
  response_already_completed: 'The response completed and is no longer accepting steering input.',
  steering_not_supported: 'Responses bound to a conversation do not support steering.',
  too_many_pending_steers: 'Too much steering input is pending for the response.',
  invalid_input: 'Steering accepts only messages with the `user` role.',
  successor_creation_failed: 'The successor response could not be created.',
}

function wrongSteer({ speaking }: Connection, id: string, input: unknown): keyof typeof messages | undefined {
  const target = speaking.get(id)
  if (target === undefined) return speaking.has(id) ? 'response_already_completed' : 'response_not_found'
  if (target.made.asked.conversationId !== undefined) return 'steering_not_supported'
  if (target.steering.length >= steersMax) return 'too_many_pending_steers'
  const items = itemsOf(input)
  return items.length > 0 && items.every(isUsers) ? undefined : 'invalid_input'
}

function errorOf(code: keyof typeof messages): object {
  return { type: 'invalid_request_error', code, message: messages[code] }
}

function itemsOf(input: unknown): readonly unknown[] {
  if (typeof input === 'string') return input === '' ? [] : [{ type: 'message', role: 'user', content: input }]
  return Array.isArray(input) ? input : []
}

function isUsers(item: unknown): boolean {
  return isObject(item) && item.role === 'user' && (item.type ?? 'message') === 'message'
}

/** Stubs of what the client owes: the outputs of its own calls. */
function requiredInput(output: unknown): object[] {
  const items = Array.isArray(output) ? output.filter(isObject) : []
  return items.filter(item => item.type === 'function_call').map(({ call_id, name }) => ({ type: 'function_call_output', call_id, name }))
}
