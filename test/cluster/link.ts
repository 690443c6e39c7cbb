import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** The wire between one gateway and one server, which a test can make slow, hold still, or cut. */
export interface Link extends AsyncDisposable {
  /** At 127.0.0.1, the same for as long as the link is there. */
  readonly port: number
  /** What the server says arrives so many milliseconds later, in its order. */
  slow(ms: number): void
  /** Nothing arrives any more in either direction; connections stay. */
  hold(): void
  /** Connections end, and new ones end as soon as they are made. */
  cut(): void
  /** As at first. What was held or delayed arrives now. */
  mend(): void
}

/** Where the wire leads: a port at 127.0.0.1, or a socket's path. */
export type Far = { readonly port: number; readonly host: string } | { readonly path: string }

interface Delays {
  toServer: number
  fromServer: number
}

/** While the server is not there, connections end as soon as they are made: that is all that a gateway sees of it. */
export async function openLink(far: Far): Promise<Link> {
  const delays: Delays = { toServer: 0, fromServer: 0 }
  const pairs = new Set<Pair>()
  let isCut = false
  const server = createServer(near => {
    if (isCut) return void near.destroy()
    const distant = connect(far)
    const pair = joined(near, distant, delays)
    pairs.add(pair)
    // Until both ends know of it: an end may be held, too.
    for (const end of [near, distant]) end.once('close', () => near.destroyed && distant.destroyed && pairs.delete(pair))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  const delay = (changed: Delays) => {
    Object.assign(delays, changed)
    for (const pair of pairs) pair.flush()
  }
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    slow: ms => delay({ toServer: 0, fromServer: ms }),
    hold: () => delay({ toServer: Number.POSITIVE_INFINITY, fromServer: Number.POSITIVE_INFINITY }),
    cut() {
      isCut = true
      for (const pair of pairs) pair.end()
    },
    mend() {
      isCut = false
      delay({ toServer: 0, fromServer: 0 })
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const pair of pairs) pair.end()
      await closed
    },
  }
}

interface Pair {
  /** Lets go of what is due by the delays as they are now. */
  flush(): void
  end(): void
}

function joined(near: Socket, far: Socket, delays: Delays): Pair {
  const ways = [new Way(near, far, () => delays.toServer), new Way(far, near, () => delays.fromServer)]
  return {
    flush: () => ways.forEach(way => void way.flush()),
    end() {
      near.destroy()
      far.destroy()
    },
  }
}

/** One direction: what comes in at one socket leaves by the other, later, in the same order; the end as well. */
class Way {
  readonly #to: Socket
  readonly #delayMs: () => number
  readonly #underWay: { readonly arrive: () => void; readonly cameMs: number }[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(from: Socket, to: Socket, delayMs: () => number) {
    this.#to = to
    this.#delayMs = delayMs
    from.setNoDelay(true)
    from.on('data', (chunk: Buffer) => this.#pass(() => void to.write(chunk)))
    from.on('error', () => {}) // The end follows, which is passed on.
    from.on('close', () => this.#pass(() => void to.destroySoon()))
    to.on('close', () => clearTimeout(this.#timer))
  }

  #pass(arrive: () => void): void {
    this.#underWay.push({ arrive, cameMs: performance.now() })
    this.flush()
  }

  flush(): void {
    clearTimeout(this.#timer)
    for (;;) {
      const next = this.#underWay[0]
      if (next === undefined || this.#to.destroyed) return
      const dueInMs = next.cameMs + this.#delayMs() - performance.now()
      if (dueInMs > 0) {
        if (Number.isFinite(dueInMs)) this.#timer = setTimeout(() => this.flush(), dueInMs)
        return
      }
      this.#underWay.shift()
      next.arrive()
    }
  }
}
