"""What other programs are asked for, and which request of ours it means. Nothing is dropped unsaid.

programs        pure   The programs that are known; what one of them wrote becomes a request.
sheet           pure   What becomes of each key: said once.
rules           pure   What is said of a key, by its value.
samplers        pure   Which scheduler is whose sampler.
wording         pure   What prompts say beside words.
graph           pure   Graphs of nodes.
a1111           pure   A1111's web UI: calls of its API.
extras          pure   A1111's web UI: calls that make a picture larger.
second_pass     pure   A second, larger pass, of several keys.
infotext        pure   A1111's web UI: the text in its pictures.
openai          pure   OpenAI's images API.
comfyui         pure   ComfyUI: its graph is followed.
comfyui_forms   pure   ComfyUI: the forms of its graphs.
invokeai        pure   InvokeAI: metadata and graphs.
fooocus         pure   Fooocus: metadata, presets, calls of its API.
carried         edge   The texts that a picture carries, our own record among them.
"""
