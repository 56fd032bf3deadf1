"""What is asked, and what it becomes.

shape        pure   Bytes in, `Request` out, or every problem at once.
pictures     pure   The files that a request names, and what is asked of them.
inputs       pure   What a request is made of: the JSON, and the files that it names.
json_text    pure   Strict JSON that tells "ends too early" from "wrong", with line and column.
schema       pure   The JSON Schema of a request.
styles       pure   The style book: request and styles become the two prompts.
style_toml   pure   Our own style book, in TOML, checked strictly.
style_files  pure   Files of styles, our own and other programs'.
style_lint   pure   What could be better about a style book.
style_choice pure   Which styles apply to a request, and what is wrong with those that it asks for.
loras        pure   LoRAs that a request names, and whether its model can be rendered with them.
embeddings   pure   Embeddings whose words stand in prompts.
picture_choice pure Which pictures a request is painted from, and what is wrong with those that it asks for.
larger       pure   Larger pictures: a second pass, and what is wrong with it.
upscale      pure   A picture that comes in, larger and no more, and what is wrong with that.
weighted     pure   Parentheses that weigh.
dynamic      pure   Many prompts from one, by the picture's seed.
wording      pure   What each picture is told: choices made, the style around it.
decide       pure   Request, style book and models become a plan, or every problem at once.
plan         pure   A request with every value decided.
plan_json    pure   Plans as JSON.
rows         pure   A file of many requests: prompts, a table, or JSON Lines.
pattern      pure   What the requests of one file are called.
again        pure   A picture's own record becomes the request for it.
"""
