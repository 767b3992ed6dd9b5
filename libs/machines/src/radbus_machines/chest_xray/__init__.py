"""The machine `chest-xray`: heart and lungs on a frontal chest radiograph."""
