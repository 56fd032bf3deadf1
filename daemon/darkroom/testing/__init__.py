"""What tests share: real things made tiny, and fakes that behave."""
