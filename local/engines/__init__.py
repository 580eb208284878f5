"""The engines that carry our services, one module each."""
