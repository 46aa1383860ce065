"""What is known of languages: Malagasy spelling, numbers and sounds; where sentences end."""
