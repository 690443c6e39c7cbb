import OpenAI6 from 'openai6'
import { clientWorld } from './journey.ts'
import type { Client } from './openai.ts'
import { meetOpenAI } from './openai-manner.ts'

/** `openai` 6, which many still have: what it tells its user of everything that can happen. */
meetOpenAI(OpenAI6 as unknown as Client, clientWorld())
