"""Codes OpenVINO IRs: constants, decoders of standard operators, the check."""
