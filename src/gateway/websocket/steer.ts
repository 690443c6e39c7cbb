import type { Principal } from '../../directory/snapshot.ts'
import { ceilingOf, sizeHold } from '../../ledger/hold.ts'
import { Fault } from '../../lib/fault.ts'
import { newId } from '../../lib/id.ts'
import { readSteer, type Steer, steerFailed } from '../../protocols/openai-websocket.ts'
import type { CallFacts } from '../../protocols/protocol.ts'
import type { Server } from '../../upstreams/choosable.ts'
import { type Admission, admit } from '../admit.ts'
import { authenticate } from '../authenticate.ts'
import { bind } from '../bind.ts'
import type { Body } from '../body.ts'
import type { Gateway } from '../gateway.ts'
import { refuse } from '../handle.ts'
import type { Call } from '../read-call.ts'
import { newReceipt } from '../receipt.ts'
import type { Conversation } from './conversation.ts'
import { socketPath } from './create.ts'
import { errorOf, type Mouth, SocketClient } from './socket-client.ts'
import { newTurn, Successor, type Turn } from './turn.ts'

/** What the upstream would say of a response that does not run here. */
const messages = {
  response_not_found: 'The target response is not available on this connection.',
  response_already_completed: 'The response completed and is no longer accepting steering input.',
} as const

/** A turn that can be steered: its response runs. */
interface Running {
  readonly turn: Turn
  readonly admission: Admission
  readonly call: Call
  readonly server: Server
}

/**
 * One `response.steer`. The upstream may begin another response for it, by itself: its money is set aside before the steering is passed
 * on, all of it, because its ceiling is the steered response's and cannot be lowered any more.
 */
export async function steer(body: Body, conversation: Conversation, mouth: Mouth, gateway: Gateway): Promise<void> {
  const message = body.bytes
  const said = readSteer(message)
  if (said === undefined) {
    body[Symbol.dispose]()
    mouth.say(errorOf(new Fault('body_unparsable'), undefined))
    return
  }
  const running = runningOf(said, conversation)
  if (typeof running === 'string') {
    body[Symbol.dispose]()
    mouth.say(failed(said, running, undefined))
    return
  }
  const { turn } = running
  const successor = await heldFor({ said, body, running }, conversation, mouth, gateway)
  if (successor === undefined) return
  successor.inputTokens += said.inputTokens
  if (turn.exchange?.isOver !== true) return conversation.say(message)
  turn.client.afterwards(failed(said, 'response_already_completed', turn.client.streamId))
  successor.open -= 1
  if (successor.open === 0) await successor.end()
}

function runningOf({ target }: Steer, conversation: Conversation): Running | keyof typeof messages {
  const turn = conversation.turnOf(target)
  const { admission, call, server } = turn ?? {}
  if (turn === undefined || admission === undefined || call === undefined || server === undefined) {
    const isKnown = typeof target === 'string' && conversation.contextOf(target) !== undefined
    return isKnown ? 'response_already_completed' : 'response_not_found'
  }
  return turn.exchange === undefined || turn.exchange.isOver ? 'response_already_completed' : { turn, admission, call, server }
}

function failed(said: Steer, code: keyof typeof messages, streamId: string | undefined): Buffer {
  return steerFailed(said, { type: 'invalid_request_error', code, message: messages[code] }, streamId)
}

type Steering = { readonly said: Steer; readonly body: Body; readonly running: Running }

/** The successor with money for this steering, too; undefined when there is none, and the client was told so. */
async function heldFor(steering: Steering, conversation: Conversation, mouth: Mouth, gateway: Gateway): Promise<Successor | undefined> {
  const { said, body, running } = steering
  const { turn } = running
  const { successor } = turn
  if (successor?.admission === undefined) return admitted(steering, conversation, mouth, gateway)
  body[Symbol.dispose]() // One body is enough for an estimate; of the others the size is known.
  successor.open += 1
  try {
    const principal = await authenticate(turn.client, { principal: undefined }, gateway)
    await bindSteering(callAfter(running, said, body), principal, gateway)
    await extend(successor.admission, said, gateway)
    return successor
  } catch (error) {
    successor.open -= 1
    mouth.say(steerFailed(said, Fault.from(error).body.error, turn.client.streamId)) // At once: kept until the end, they would add up.
    return undefined
  }
}

async function admitted(
  { said, body, running }: Steering,
  conversation: Conversation,
  mouth: Mouth,
  gateway: Gateway,
): Promise<Successor | undefined> {
  const { turn, admission, server } = running
  const { clock, coordinator, settings } = gateway
  const { streamId } = turn.client
  const client = new SocketClient(mouth, {
    id: newId(clock.nowMs()),
    streamId,
    clock,
    asked: { body, reading: { fault: 'model_missing' } },
    refusal: fault => steerFailed(said, fault.body.error, streamId),
  })
  const userSlot = turn.places.user!.share()
  const successor = new Successor(newTurn(client, turn.places), turn.places.account!.share())
  const call = callAfter(running, said, body)
  Object.assign(successor.turn, { call, server })
  Object.assign(successor, { open: 1 })
  turn.successor = successor
  conversation.join(client)
  const receipt = newReceipt(client, socketPath, clock)
  try {
    const principal = await authenticate(client, receipt, gateway)
    receipt.facts = call.facts
    await bindSteering(call, principal, gateway)
    const bound = { accountId: server.account.id, contextTokens: contextAfter(running, gateway), offers: [admission.offer] }
    successor.admission = await admit({ principal, call, bound, receipt }, client, {
      ...gateway,
      settings: { ...settings, holdFloorTokens: Number.MAX_SAFE_INTEGER },
      coordinator: { ...coordinator, enter: async () => userSlot },
    })
    successor.turn.admission = successor.admission
    return successor
  } catch (error) {
    turn.successor = undefined
    await userSlot[Symbol.asyncDispose]()
    await successor.end()
    refuse(Fault.from(error), { client, receipt, gateway })
    return undefined
  }
}

/** What is steered in has owners like the input of any call; what is steered is known already. */
async function bindSteering(call: Call, principal: Principal, gateway: Gateway): Promise<void> {
  await bind({ ...call, facts: { ...call.facts, previousResponseId: undefined } }, principal, gateway)
}

/** It has the settings of the response before it, whose ceiling is the one that we had the upstream told. */
function callAfter({ admission, call, turn }: Running, said: Steer, body: Body): Call {
  const facts: CallFacts = {
    ...call.facts,
    fields: {},
    insertAt: 1,
    isEmptyObject: false,
    maxOutputTokens: admission.outputCeiling ?? call.facts.maxOutputTokens,
    previousResponseId: turn.exchange?.responseId,
    conversationId: undefined,
    itemReferences: said.itemReferences,
    fileIds: said.fileIds,
    toolOutputFault: undefined,
    inputTokensEstimate: said.inputTokens,
    mediaTokens: said.mediaTokens,
  }
  let isOurs = true
  return {
    ...call,
    facts,
    body,
    instructions: undefined, // They are part of what it goes on from.
    inputTokens: said.inputTokens,
    handOver() {
      isOurs = false
    },
    [Symbol.dispose]() {
      if (isOurs) body[Symbol.dispose]()
    },
  }
}

/** The most that it can take up again: all that went into the response before it, and all that may come out. */
function contextAfter({ admission, call }: Running, { settings }: Pick<Gateway, 'settings'>): number {
  const ceiling = admission.outputCeiling ?? call.facts.maxOutputTokens
  return admission.contextTokens + call.inputTokens + ceilingOf({ ceiling, prices: admission.hold.size.prices, limits: settings })
}

/** The same hold, for more input. */
async function extend(admission: Admission, said: Steer, { ledger }: Pick<Gateway, 'ledger'>): Promise<void> {
  const { hold, receipt } = admission
  const size = sizeHold({ ...hold.size, inputTokens: hold.size.inputTokens + said.inputTokens })
  const answer = await ledger.extend(receipt.id, hold.funds, size.want)
  if (!('granted' in answer) || answer.granted < size.want) throw new Fault('money_short')
  admission.hold = { ...hold, size }
}
