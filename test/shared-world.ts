import { afterAll, beforeAll } from 'vitest'
import { openWorld, type World, type WorldOptions } from './world.ts'

/** One world for a table of cases. It must be quiet after the last of them. */
export function sharedWorld(options: WorldOptions = {}): () => World {
  let world: World
  beforeAll(async () => {
    world = await openWorld(options)
  })
  afterAll(async () => {
    await world.quiet()
    await world[Symbol.asyncDispose]()
  })
  return () => world
}
