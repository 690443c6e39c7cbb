import { once } from 'node:events'
import { createServer } from 'node:net'

/** The kernel gives these to no connection that is made, so that a server which stops finds its port free when it starts again. */
const first = 12_000
const count = 18_000
const triesMax = 100

/** A port of 127.0.0.1 where nobody listens, for a server that will be started more than once. */
export async function steadyPort(): Promise<number> {
  for (let tries = 0; tries < triesMax; tries += 1) {
    const port = first + Math.floor(Math.random() * count)
    const server = createServer()
    server.listen(port, '127.0.0.1')
    try {
      await once(server, 'listening')
    } catch {
      continue // Somebody has it.
    }
    server.close()
    await once(server, 'close')
    return port
  }
  throw new Error(`of ${triesMax} ports none is free`)
}
