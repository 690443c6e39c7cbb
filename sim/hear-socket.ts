import { once } from 'node:events'
import { WebSocket } from 'ws'
import type { Sim } from './sim.ts'

export type Message = { readonly type: string } & Readonly<Record<string, unknown>>

/** A plain client of the WebSocket mode. */
export interface Hearing {
  readonly messages: readonly Message[]
  say(message: object | string | Buffer): void
  /** Resolves with the first message, past or to come, of which this holds. */
  until(holds: (message: Message) => boolean): Promise<Message>
  /** Resolves once so many messages of this type have come, with the last of them. */
  untilType(type: string, count?: number): Promise<Message>
  /** How the socket was closed: 1006 is no way to close one. */
  readonly closed: Promise<number>
  /** Closes the socket as WebSocket says it should be. */
  close(): void
  /** Just goes. */
  leave(): void
}

/** Connects to a scripted upstream or to a gateway, and resolves once it is heard; rejects with what the upgrade was refused with. */
export async function openHearing(sim: Pick<Sim, 'url'>, key = 'sk-1'): Promise<Hearing> {
  const ws = new WebSocket(`${sim.url.replace('http', 'ws')}/v1/responses`, { headers: { authorization: `Bearer ${key}` } })
  const messages: Message[] = []
  const waiting = new Set<() => void>()
  ws.on('message', (data: Buffer) => {
    messages.push(JSON.parse(data.toString()))
    for (const look of waiting) look()
  })
  const closed = new Promise<number>(resolve => ws.once('close', resolve))
  await once(ws, 'open')
  ws.on('error', () => {}) // A reset; the closing that follows is what is asked about.
  const until = (find: () => Message | undefined) =>
    new Promise<Message>(resolve => {
      const look = () => {
        const found = find()
        if (found === undefined) return
        waiting.delete(look)
        resolve(found)
      }
      waiting.add(look)
      look()
    })
  return {
    messages,
    say: message => ws.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message)),
    until: holds => until(() => messages.find(holds)),
    untilType: (type, count = 1) => until(() => messages.filter(message => message.type === type)[count - 1]),
    closed,
    close: () => ws.close(1000),
    leave: () => ws.terminate(),
  }
}
